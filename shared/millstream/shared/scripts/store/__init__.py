"""Items of the long-term store."""
