"""Serve images of upstream registries from a local store."""
