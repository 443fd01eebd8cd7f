"""Fuzz stored mirrors: the controller refuses one, or each value stays within its field of the desired objects.

The input is the mirror, line by line (see lines.py).
"""

from __future__ import annotations

from controller.model.mirror import Mirror, parse_mirror
from tests.fuzz.lines import document
from tests.support.controller import inputs, settings
from tests.support.places import assert_in_place

CHOSEN, KNOWN = settings(HOSTESS_DOCKER_IMAGE="registry-mirror/hostess"), inputs()


def one(data: bytes) -> None:
    """Check one mirror."""
    obj = {"metadata": {"name": "docker", "uid": "1"}, **document(data)}
    if not isinstance(obj["metadata"], dict):
        return  # the API server stores no such object
    obj["metadata"] = {"name": "docker", **obj["metadata"], "uid": "1"}
    mirror = parse_mirror(obj, ())
    if isinstance(mirror, Mirror):
        assert_in_place(mirror, CHOSEN, KNOWN)
    else:
        assert mirror
        assert all("\n" not in str(problem) for problem in mirror)
