"""Compute conditions, status and Events."""
