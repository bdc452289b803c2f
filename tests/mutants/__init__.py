"""Mutation testing: the product is changed in one place at a time, and the tests have to notice.

`make mutants` makes the mutants of the Redis scripts and of the modules in `targets.py`, runs for each of them the
tests that reach its file, and prints those that no test fails on. The checkout is never edited: each job works on a
copy of it.
"""
