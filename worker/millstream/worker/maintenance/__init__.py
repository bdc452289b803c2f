"""Services beside the runs: one file each, with a `run_once()` that wiring.py makes periodic."""
