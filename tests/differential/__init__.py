"""The same plays on Millstream and on another server of the API, and what is different."""
