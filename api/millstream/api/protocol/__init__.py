"""The event streaming protocol, over HTTP and over a WebSocket."""
