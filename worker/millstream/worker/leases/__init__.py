"""Renews the leases of this worker, and protects lapsed leases after an outage of Redis."""
