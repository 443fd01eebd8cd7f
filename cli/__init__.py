"""Ask a cluster about its registry mirrors, as the plugin `kubectl registry-mirror`.

The standard library suffices.
"""
