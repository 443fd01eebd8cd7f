"""Share work with the other replicas of this cache."""
