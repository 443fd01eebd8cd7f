"""Configure hypothesis."""

from __future__ import annotations

import os

from hypothesis import settings

# No deadline for an example, because pytest's timeout ends a hang.
settings.register_profile("same", deadline=None, print_blob=True, derandomize=True)
settings.register_profile("random", deadline=None, print_blob=True)
# CI tries the same examples each time; `make slow` tries others.
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
