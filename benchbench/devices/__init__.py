"""Devices: what kinds there are, which ones this machine has, and what torch calls differently on each of them.

No other module names a kind of accelerator.
"""
