"""Find faults of a cluster. The checks are pure functions of a snapshot."""
