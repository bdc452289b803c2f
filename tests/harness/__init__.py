"""Real parts for tests: servers and processes that tests start, kill and wait for."""
