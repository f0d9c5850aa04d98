"""Choosing hyperparameters: settings to try, the runs that try them, and a suite with what was chosen."""
