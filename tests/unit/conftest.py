"""Configure hypothesis."""

from __future__ import annotations

from hypothesis import settings

# No deadline for an example, because pytest's timeout ends a hang.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")
