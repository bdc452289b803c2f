"""Scripts that create, rotate and revoke API keys."""
