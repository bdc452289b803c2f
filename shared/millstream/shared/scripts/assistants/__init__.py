"""Scripts that change assistants and their versions."""
