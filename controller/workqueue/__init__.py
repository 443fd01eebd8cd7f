"""Queue mirror names and run the workers."""
