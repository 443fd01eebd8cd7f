"""Define the error of the local cluster."""


class LocalClusterError(Exception):
    """An error for the terminal. The text is one or more sentences: what is wrong and what to do."""
