"""Call the API server. The only package that imports `kubernetes`."""
