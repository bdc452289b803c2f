"""Executes runs in separate processes, so that a run that ends its process ends no other run."""
