"""Scripts that read and write items of the long-term store."""
