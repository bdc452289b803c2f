"""A run's events: what stands in its stream, and who reads it."""
