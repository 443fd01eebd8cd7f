"""Show how much the caches serve and save, since their pods started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cli.caches import administered, caches_of, name_silent
from cli.metrics import samples, total
from cli.objects import name_of
from cli.output import Column, Listing, bytes_text

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

    from cli.kubectl import Json
    from cli.metrics import Sample
    from cli.session import Session

PREFIX: Final = "registrymirror_cache_"
# Results of requests that a request to the upstream preceded, at this replica or at the one that it asked.
_FETCHED: Final = ("miss", "unstored")
_REFUSED: Final = "refused"
_NODE: Final = "node"

COLUMNS: Final = (
    Column("MIRROR", lambda item: item["mirror"]),
    Column("UPSTREAM", lambda item: item["upstream"]),
    Column("PULLS", lambda item: item["pulls"]),
    Column("REQUESTS", lambda item: item["requests"]),
    Column("HIT RATE", lambda item: percent(item["hitRate"])),
    Column("SERVED", lambda item: bytes_text(item["servedBytes"])),
    Column("FETCHED", lambda item: bytes_text(item["fetchedBytes"])),
    Column("SAVED", lambda item: bytes_text(item["savedBytes"])),
    Column("STORED", lambda item: bytes_text(item["storedBytes"]), wide=True),
    Column("FREE", lambda item: bytes_text(item["freeBytes"]), wide=True),
    Column("PODS", lambda item: item["pods"], wide=True),
)
REPOSITORY_COLUMNS: Final = (
    Column("MIRROR", lambda item: item["mirror"]),
    Column("UPSTREAM", lambda item: item["upstream"]),
    Column("REPOSITORY", lambda item: item["repository"]),
    Column("REQUESTS", lambda item: item["requests"]),
)


def run(session: Session, options: Namespace) -> int:
    """Print one row for each upstream of each mirror, or for each repository. Return 1 if no cache pod answers."""
    items: list[Json] = []
    mirrors, answers = session.mirrors(options.name), 0
    for mirror in mirrors:
        caches = caches_of(session, name_of(mirror))
        pages = {pod: list(samples(text)) for pod, text in administered(session, caches, "metrics").items()}
        name_silent(session, caches, name_of(mirror))
        answers += len(pages)
        found = [sample for page in pages.values() for sample in page]
        if options.repositories:
            items += repositories(name_of(mirror), found)
        else:
            items += traffic(name_of(mirror), found, len(pages))
    columns = REPOSITORY_COLUMNS if options.repositories else COLUMNS
    nothing = "The caches do not count requests by repository." if options.repositories else "No cache answers."
    session.print(Listing(columns, items, lambda item: f"registrymirror.k8s.osp.tech/{item['mirror']}"), nothing)
    return 1 if mirrors and not answers else 0


def traffic(mirror: str, found: list[Sample], pods: int) -> list[Json]:
    """Return the sums of all pods of a mirror, for each upstream."""
    return [_of_upstream(mirror, upstream, found, pods) for upstream in _values(found, "upstream")]


def _of_upstream(mirror: str, upstream: str, found: list[Sample], pods: int) -> Json:
    requests = f"{PREFIX}requests_total"
    counted = total(found, requests, upstream=upstream, client=_NODE)
    counted -= total(found, requests, upstream=upstream, client=_NODE, result=_REFUSED)
    misses = sum(total(found, requests, upstream=upstream, result=result) for result in _FETCHED)
    fetched = total(found, f"{PREFIX}received_bytes_total", upstream=upstream, source="upstream")
    served = total(found, f"{PREFIX}served_bytes_total", upstream=upstream, client=_NODE)
    free = [each.value for each in found if each.name == f"{PREFIX}free_bytes"]
    return {
        "mirror": mirror,
        "upstream": upstream,
        "pulls": int(total(found, f"{PREFIX}pulls_total", upstream=upstream)),
        "requests": int(counted),
        "hitRate": max(0.0, 1 - misses / counted) if counted else None,
        "servedBytes": int(served),
        "fetchedBytes": int(fetched),
        "savedBytes": int(max(0, served - fetched)),
        "storedBytes": int(total(found, f"{PREFIX}stored_bytes")),
        "freeBytes": int(min(free, default=0)),
        "pods": pods,
    }


def repositories(mirror: str, found: list[Sample]) -> list[Json]:
    """Return the requests for each repository, the most first."""
    name = f"{PREFIX}repository_requests_total"
    keys = sorted({(each.labels["upstream"], each.labels["name"]) for each in found if each.name == name})
    items = [
        {
            "mirror": mirror,
            "upstream": upstream,
            "repository": repository,
            "requests": int(total(found, name, upstream=upstream, name=repository)),
        }
        for upstream, repository in keys
    ]
    return sorted(items, key=lambda item: -int(str(item["requests"])))


def _values(found: Iterable[Sample], label: str) -> list[str]:
    return sorted({each.labels[label] for each in found if label in each.labels})


def percent(rate: float | None) -> str:
    """Return a rate as text; empty without requests."""
    return "" if rate is None else f"{100 * rate:.1f} %"
