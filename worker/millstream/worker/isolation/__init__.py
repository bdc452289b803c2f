"""Runs that are executed in a process of their own, so that what ends the process ends nothing else."""
