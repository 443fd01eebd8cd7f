"""Ask node agents for their state."""
