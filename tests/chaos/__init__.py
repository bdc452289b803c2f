"""The chaos suite: a whole town of processes under constant trouble, and a ledger of every run."""
