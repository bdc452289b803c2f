"""Deliveries of webhooks: taken, and settled."""
