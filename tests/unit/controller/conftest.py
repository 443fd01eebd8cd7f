"""Configure hypothesis."""

from __future__ import annotations

from hypothesis import settings

# No deadline for a single example: this is about what is right; a hang ends by pytest's own timeout.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")
