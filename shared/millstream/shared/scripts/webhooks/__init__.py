"""Scripts that take and settle webhook calls."""
