"""Define the names, documents and errors of the OCI distribution specification. Pure."""
