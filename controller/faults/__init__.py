"""Search for faults of the pods of a mirror."""
