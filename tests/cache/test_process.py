"""The process ends with a message if it cannot serve, and takes both address families."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from yarl import URL

from tests.cache.program import REPOSITORY, a_config
from tests.localcluster.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from common.types import Json
    from tests.cache.program import Cache
    from tests.cache.upstream import Registry


def _run(folder: Path, config: Json, **variables: str) -> tuple[int, str]:
    """Run the program to its end; return its exit status and output."""
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    ended = subprocess.run(
        [sys.executable, "-m", "cache", str(path)],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_wrong_configuration_ends_the_program(tmp_path: Path) -> None:
    """Each mistake has a line with its path, and the exit status is that of wrong arguments."""
    config = a_config(tmp_path, "https://a/b", None, ttl="7d", minFree="-1", peers={"self": "z", "members": {}})
    status, output = _run(tmp_path, config)
    assert status == 2
    assert [line.partition(":")[0] for line in output.splitlines()] == ["ttl", "minFree", "upstreams.0.url", "peers"]


def test_wrong_log_level_ends_the_program(tmp_path: Path) -> None:
    """As in the other programs."""
    status, output = _run(tmp_path, a_config(tmp_path, "https://a", None), LOG_LEVEL="LOUD")
    assert (status, output.startswith('LOG_LEVEL="LOUD": ')) == (2, True)


@pytest.mark.parametrize("change", [{"tls": {"certificate": "/none", "key": "/none"}}, {"listen": "192.0.2.1:1"}])
def test_program_that_cannot_serve_ends(tmp_path: Path, change: Json) -> None:
    """The log has one line with the reason, and no stack."""
    config = a_config(tmp_path, "https://a", None) | change
    status, output = _run(tmp_path, config)
    assert status == 1
    assert "cannot serve" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("host", ["[::]", ""])
async def test_all_addresses_are_ipv4_and_ipv6(upstream: Registry, make_cache: Callable[..., Cache], host: str) -> None:
    """Both ports answer in both families, and a client has one address in each."""
    upstream.push("a")
    cache = make_cache()
    cache.config |= {"listen": f"{host}:{free_port()}", "statusListen": f"{host}:{free_port()}", "tls": None}
    await cache.start()
    assert cache.session is not None
    ports = [cache.config[name].rpartition(":")[2] for name in ("listen", "statusListen")]
    for address in ("127.0.0.1", "[::1]"):
        for port, path in zip(ports, ("/v2/a/manifests/latest?ns=registry.test", "/readyz"), strict=True):
            async with cache.session.get(URL(f"http://{address}:{port}{path}")) as response:
                assert response.status == 200
    assert (await cache.status())["clients"] == {"nodes": [], "unmatched": 2, "shared": 0}
