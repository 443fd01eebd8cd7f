"""Decide where content comes from: the store, another replica or the upstream."""
