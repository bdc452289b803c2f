"""API keys: their form, their records in Redis, and the copy that an API keeps of them."""
