"""The long-term store."""
