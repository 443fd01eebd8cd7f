"""Asks upstreams now and then whether they answer, and whether they take the credentials: what the registry hides.

The registry turns whatever an upstream says into 404; a person who looks at the mirror is to read the truth.
"""
