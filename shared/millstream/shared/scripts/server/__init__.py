"""Scripts that check the Redis server."""
