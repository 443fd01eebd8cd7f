"""Ask node agents for their status."""
