"""Optimizers, workloads, models and data sets by name: what is installed, what it takes, how it is built."""
