"""Probe if upstreams are reachable and accept the credentials.

The registry answers 404 for every error of its upstream, so that its own answers do not show the cause.
"""
