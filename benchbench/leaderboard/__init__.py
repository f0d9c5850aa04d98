"""The leaderboard: results as bundles that can be checked and run again, and a static site over many of them.

Reading bundles and building the site imports nothing that the data name and unpickles nothing. Only `verify` runs code:
installed plugins and what the caller allows beyond them.
"""
