"""Authentication and authorisation: the user of a request, and what it may do."""
