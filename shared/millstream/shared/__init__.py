"""What the API and the workers agree on: rules, keys, scripts, and what is done with them."""
