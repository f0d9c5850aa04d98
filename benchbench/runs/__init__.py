"""Files of runs, and the claims by which several commands share the runs of one folder."""
