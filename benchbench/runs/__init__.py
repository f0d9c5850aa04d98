"""What a run leaves on the disk, and how several commands share the runs of one folder."""
