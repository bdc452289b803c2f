"""Changes of a thread's record, and searches for threads."""
