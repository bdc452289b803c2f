"""Scripts that read and change checkpoints, under a run's fence."""
