"""The A2A protocol."""
