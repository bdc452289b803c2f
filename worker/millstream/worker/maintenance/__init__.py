"""What a worker does beside its runs: one file a service, each with `run_once()`."""
