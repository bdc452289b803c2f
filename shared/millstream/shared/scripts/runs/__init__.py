"""Scripts that change a run, its events or its lease."""
