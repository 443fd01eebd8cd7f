"""Settings of the property tests."""

from __future__ import annotations

from hypothesis import settings

# No deadline for a single example: pytest's timeout ends a hang.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")
