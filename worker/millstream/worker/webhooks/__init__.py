"""Calls the webhooks of runs that have ended, at least once each, until the receiver answers."""
