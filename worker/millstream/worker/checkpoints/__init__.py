"""Where the graphs of a worker keep their checkpoints."""
