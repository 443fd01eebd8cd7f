"""The one error of the local cluster."""


class LocalClusterError(Exception):
    """Something a person has to know or do; its text is one or more whole sentences for the terminal."""
