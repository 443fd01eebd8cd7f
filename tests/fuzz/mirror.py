"""The controller: a stored mirror is refused, or each of its values stays in its place in all that is made of it.

The mirror stands there line by line (see lines.py).
"""

from __future__ import annotations

from controller.model.mirror import Mirror, parse_mirror
from tests.fuzz.lines import document
from tests.support.controller import inputs, settings
from tests.support.places import assert_in_place

CHOSEN, KNOWN = settings(), inputs()


def one(data: bytes) -> None:
    """One spec."""
    raw = {"metadata": {"name": "docker", "uid": "1"}, **document(data)}
    if not isinstance(raw["metadata"], dict):
        return  # the API server stores no such thing
    raw["metadata"] = {"name": "docker", **raw["metadata"], "uid": "1"}
    mirror = parse_mirror(raw, ())
    if isinstance(mirror, Mirror):
        assert_in_place(mirror, CHOSEN, KNOWN)
    else:
        assert mirror
        assert all("\n" not in str(problem) for problem in mirror)
