"""Answer HTTP requests: the registry API on one port, health and status on another."""
