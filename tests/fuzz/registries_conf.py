"""Fuzz registries.conf of others: each file is judged, and what the agent renders is read as it is meant.

The first line of the input is a host, the second the mirror. A foreign file follows.
"""

from __future__ import annotations

import tomllib

from hostess.containers import registries_conf
from hostess.containers.registries_conf import Registry
from tests.fuzz.lines import text_of


def one(data: bytes) -> None:
    """Check one host and one foreign file."""
    first, _, rest = data.partition(b"\n")
    second, _, content = rest.partition(b"\n")
    host, mirror = text_of(first), text_of(second)
    registries_conf.configures(content, host)
    try:
        rendered = registries_conf.render("one", [Registry(host, mirror)])
    except ValueError:
        assert not (registries_conf.is_supported(host) and registries_conf.is_supported(mirror))
        return
    (table,) = tomllib.loads(rendered)["registry"]
    assert table == {"prefix": host, "location": host, "mirror": [{"location": mirror}]}
    assert registries_conf.configures(rendered.encode(), host)
