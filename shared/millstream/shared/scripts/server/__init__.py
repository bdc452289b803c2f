"""What the Redis server itself is asked."""
