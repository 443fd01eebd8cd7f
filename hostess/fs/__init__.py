"""Write files atomically and keep track of directories that the agent creates."""
