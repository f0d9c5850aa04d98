"""Results of other benchmarks, from the folders in which they leave them, as records."""
READERS = {}
