"""HTTP in, SSE out. Knows Starlette; never a graph."""
