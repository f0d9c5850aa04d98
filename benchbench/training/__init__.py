"""One run: the training loop, what is measured beside it, and what it leaves for the next attempt."""
