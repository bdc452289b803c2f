"""The chaos suite: a cluster of processes under constant faults, and a ledger of every run."""
