"""Probe the mirror and decide if it is healthy."""
