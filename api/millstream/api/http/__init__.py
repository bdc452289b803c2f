"""HTTP: bodies, errors, event streams, middleware. It knows no resource."""
