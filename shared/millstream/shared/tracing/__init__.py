"""Traces: what carries them from the request through the queue to the graph, and what makes and sends spans.

`otel.py` and what it imports are imported only where something is to receive spans (tracer.open_tracer).
"""
