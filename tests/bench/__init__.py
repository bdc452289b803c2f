"""The benchmark, `make bench`: it prints figures and asserts nothing."""
