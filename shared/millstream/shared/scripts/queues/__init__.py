"""Scripts that pause and resume queues, and decide which queue gets a graph's runs."""
