"""The leases of this worker: renewed, and what an outage of Redis does to them."""
