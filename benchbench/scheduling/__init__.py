"""All runs of a suite: what is to be run, bringing it to its end, and telling the tracking store."""
