"""Write objects to the API server."""
