"""Optimizers as people bring them, through the real command: what becomes of each, and what is said."""
