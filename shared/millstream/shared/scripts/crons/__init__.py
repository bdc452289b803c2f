"""Scripts that change crons and fire them."""
