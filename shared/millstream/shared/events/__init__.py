"""The events of runs and threads: reading them from Redis, and following them for many clients."""
