"""Define the types that all programs share."""

from typing import Any

# One JSON object, as the API server sends it.
Json = dict[str, Any]
