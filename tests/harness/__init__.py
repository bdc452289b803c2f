"""Real parts for tests: servers that are started, killed and waited for."""
