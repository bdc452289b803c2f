"""Figures: `make bench`. They are printed, never asserted."""
