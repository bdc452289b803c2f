"""Sends the same requests to Millstream and to another server of the API, and compares the responses."""
