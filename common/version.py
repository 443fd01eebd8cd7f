"""Define the version of the project. pyproject.toml, the images and the metrics take it from here."""

from typing import Final

VERSION: Final = "0.1.0"
