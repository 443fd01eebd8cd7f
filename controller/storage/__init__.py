"""Resize and delete the claims of the cache pods."""
