"""Checkpoints, written under a run's fence."""
