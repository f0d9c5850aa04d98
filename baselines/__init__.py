"""Optimizers to compare with, one file each; SGD and AdamW are torch's own."""
