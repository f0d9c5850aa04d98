"""One run: the training loop, its measurements, and what it leaves for the next attempt."""
