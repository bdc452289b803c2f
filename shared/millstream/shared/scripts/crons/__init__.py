"""Changes of crons, and the runs that they start."""
