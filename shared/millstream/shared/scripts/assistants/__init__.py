"""Changes of assistants and their versions."""
