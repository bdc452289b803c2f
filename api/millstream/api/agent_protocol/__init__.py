"""The Agent Protocol."""
