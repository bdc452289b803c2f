"""Pure rules: no Redis, no event loop."""
