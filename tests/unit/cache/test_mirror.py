"""Test what the upstreams of one cache share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache.config import UpstreamConfig
from cache.content.download import Downloads
from cache.metrics import Metrics
from cache.mirror import Mirrors, Parts
from cache.replicas.peers import Peers
from cache.upstream.credentials import Credentials
from cache.upstream.proxies import Proxies
from cache.upstream.session import Session
from cache.upstream.tokens import LoginMemory
from cache.upstream.trust import client_context
from tests.support.stores import a_store
from tests.support.upstreams import Front, serving

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LIMIT = 10


async def test_all_upstreams_share_one_limit_of_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client may name thousands of repositories at each of many upstreams."""
    monkeypatch.setattr("cache.upstream.tokens._REMEMBERED_MAX", LIMIT)
    session, logins = Session(client_context), LoginMemory()
    await session.follow(None)
    store, evictor = a_store(tmp_path)
    parts = Parts(store, Downloads(), Metrics(), Proxies(), session, Peers(session), logins, evictor.check)
    mirrors = Mirrors(parts)
    first, second = (Front("bearer", scheme="http", takes_tokens=404) for _ in range(2))
    async with serving(first), serving(second):
        await mirrors.follow(
            {UpstreamConfig(host=each.url[7:], url=each.url): Credentials() for each in (first, second)}
        )
        for mirror in mirrors.by_host.values():
            for number in range(8):
                async with mirror.client.ask("GET", f"/v2/a{number}/tags/list", f"a{number}", "tags") as response:
                    assert response.status == 404
            assert 0 < len(logins.tokens) <= LIMIT
            assert 0 < len(logins.challenges) <= LIMIT
        assert {key[0] for key in logins.tokens} == {second.url}  # a full memory begins again
        assert (first.requests.count("/token"), second.requests.count("/token")) == (8, 8)
        mirrors.by_host[first.url[7:]].client.tokens.clear()
        assert len(logins.tokens) > 0
    await session.close()
