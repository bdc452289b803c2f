"""Metrics in Prometheus' text format, at `GET /metrics` of an API and on a port of a worker."""
