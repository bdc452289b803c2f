"""Threads and their state."""
