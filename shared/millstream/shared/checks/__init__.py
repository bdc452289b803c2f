"""Checks of Redis, of the deployment's runs and of the project: facts are read once, and judged by pure functions.

Processes make some of the checks when they start (at_start.py), `millstream doctor` makes all of them.
"""
