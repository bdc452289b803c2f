"""Changes of a run, its events and its lease."""
