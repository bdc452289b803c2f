"""The project's `auth` of langgraph.json, executed in processes of its own.

Its code may block, crash or never return, and harms only the requests that wait for its answers.
"""
