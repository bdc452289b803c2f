"""Calls the webhooks of runs that have ended: from here, at least once, until a receiver answers."""
