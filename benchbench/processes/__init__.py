"""Processes of the operating system: signals, children that die with their parent, memory."""
