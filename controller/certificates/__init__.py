"""Issue, rotate and watch certificates."""
