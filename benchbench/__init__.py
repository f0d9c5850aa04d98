"""benchbench: an optimizer-agnostic benchmark harness for PyTorch."""
