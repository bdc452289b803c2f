"""Crons."""
