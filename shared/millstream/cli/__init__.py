"""The command `millstream`: it starts processes, and imports neither side of the server."""
