"""A run as a table: each figure, what it was to be, and what the peers are known for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks import peers
from benchmarks.peers import CONTROLLER_RUNTIME

if TYPE_CHECKING:
    from benchmarks.burst import Burst
    from benchmarks.run import Run

# Aims of the project, for 500 mirrors.
RESTART_SECONDS: Final = 2.0
RESIDENT_MB: Final = 100.0
BACK_MILLISECONDS: Final = 100.0
STATUS_WRITES: Final = 2
WEBHOOK_START: Final = 500.0  # ms
WEBHOOK_MB: Final = 60.0
_MB: Final = 1.048576  # MB in a MiB


@dataclass(frozen=True)
class Row:
    """One line. `reached` is None where nothing was aimed at; `peers` are published figures."""

    title: str
    value: str
    aim: str = ""
    reached: bool | None = None
    peers: str = ""


Rows = Iterator[Row]


def rows(run: Run) -> list[Row]:
    """The whole table."""
    return [*_burst(run), *_cost(run), *_restart(run), *_drift(run), *_reviews(run), *_webhook(run)]


def _burst(run: Run) -> Rows:
    typical, aim = run.typical, CONTROLLER_RUNTIME.burst_seconds
    burst = typical.burst
    yield Row("limit: raw creates of our six objects", _seconds(typical.limit.seconds))
    yield Row(
        "limit: raw creates of the peers' four", _seconds(typical.peers_limit.seconds), peers=f"{peers.LIMIT_SECONDS} s"
    )
    known = ", ".join(f"{peer.burst_seconds:.1f}" for peer in peers.PEERS)
    whole = run.plan.mirrors == peers.MIRRORS
    yield Row(
        f"burst of {burst.mirrors} mirrors",
        _seconds(burst.seconds),
        f"< {aim:.1f} s" if whole else "",
        burst.seconds < aim if whole else None,
        f"{known} s",
    )
    known = ", ".join(f"{peer.ratio:.2f}" for peer in peers.PEERS)
    aim = CONTROLLER_RUNTIME.ratio
    yield Row("burst / limit of the same objects", f"{typical.ratio:.2f}", f"< {aim:.2f}", typical.ratio < aim, known)
    yield Row("the same with the webhook", _seconds(run.with_webhook.seconds))
    if run.full:
        yield from _full(run.full)


def _full(burst: Burst) -> Rows:
    """Where status changes after the making too. It is no aim of the peers' comparison, but of the project's."""
    yield Row(f"burst of {burst.mirrors} beside all of Kubernetes", _seconds(burst.seconds))
    yield _most("most writes of one object there", burst.most_writes_an_object, 1)
    status, mean = burst.most_status_writes, burst.mean_status_writes
    value = f"{status}, mean {mean:.1f}"
    yield Row("most status writes of one mirror there", value, f"<= {STATUS_WRITES}", status <= STATUS_WRITES)


def _cost(run: Run) -> Rows:
    burst = run.typical.burst
    yield Row("controller CPU in the burst", f"{burst.controller_cpu_seconds:.2f} s", peers="3.5, 10.1, 8.5 s")
    yield Row("API server CPU in the burst", f"{burst.api_server_cpu_seconds:.2f} s", peers="18.3, 12.5, 12.4 s")
    known = ", ".join(str(peer.requests_a_mirror) for peer in peers.PEERS)
    yield Row("requests a mirror", f"{burst.requests_a_mirror:.2f}", peers=known)
    yield Row("reconciles a mirror", f"{burst.reconciles / burst.mirrors:.2f}")
    yield Row("requests of it that were refused", str(burst.refused))
    yield _most("most writes of one object", burst.most_writes_an_object, 1)
    yield _most("most status writes of one mirror", burst.most_status_writes, STATUS_WRITES)
    known = ", ".join(str(peer.resident_mib) for peer in peers.PEERS)
    yield _memory("resident after the burst", burst.resident_mib, RESIDENT_MB, f"{known} MiB")
    yield _memory("resident after the restart", run.restart.resident_mib, RESIDENT_MB, "")
    yield _most(f"requests in {run.rest.seconds:.0f} s at rest", run.rest.request_count, 0, "0, 0, 0")


def _restart(run: Run) -> Rows:
    found = run.restart
    yield Row("restart to ready", _seconds(found.ready_seconds))
    known = ", ".join(f"{peer.restart_seconds:.1f}" for peer in peers.PEERS)
    reached = found.reconciled_seconds < RESTART_SECONDS
    aim = f"< {RESTART_SECONDS:.0f} s"
    yield Row("restart to each mirror reconciled", _seconds(found.reconciled_seconds), aim, reached, f"{known} s")
    known = ", ".join(str(peer.restart_requests) for peer in peers.PEERS)
    yield Row("requests of a restart", str(found.request_count), peers=known)
    yield _most("writes of a restart", found.writes, 0)


def _drift(run: Run) -> Rows:
    known = {"StatefulSet deleted": "19, 32 ms, never", "Service port 443 to 8443": "never, never, never"}
    for each in run.drift:
        value = f"{each.median:.1f} ms, worst {each.worst:.0f}"
        aim = f"< {BACK_MILLISECONDS:.0f} ms"
        yield Row(each.title, value, aim, each.median < BACK_MILLISECONDS, known.get(each.title, ""))


def _reviews(run: Run) -> Rows:
    ours, without = run.reviews.ours, run.reviews.without
    yield Row("create, dry run, no webhook, 1 client", f"p50 {without.p50:.1f} p99 {without.p99:.1f} ms")
    yield Row("the same with our webhook", f"p50 {ours.p50:.1f} p99 {ours.p99:.1f} ms")
    slower, aim = ours.p50 / without.p50, peers.LATENCY / peers.LATENCY_WITHOUT
    yield Row("p50 with / without", f"{slower:.2f}", f"<= {aim:.2f}", slower <= aim, f"{aim:.2f}")
    yield Row("create, dry run, no webhook, 8 clients", _rate(without.requests_per_second, without.loaded_p99))
    yield Row("the same with our webhook", _rate(ours.requests_per_second, ours.loaded_p99))
    left, aim = ours.requests_per_second / without.requests_per_second, peers.LOADED / peers.LOADED_WITHOUT
    yield Row("requests/s with / without", f"{left:.2f}", f">= {aim:.2f}", left >= aim, f"{aim:.2f}")


def _webhook(run: Run) -> Rows:
    found, aim = run.admission, peers.DIRECT_REVIEWS
    for title, load in (("/validate", found.validate), ("/mutate", found.mutate)):
        rate = load.reviews_per_second
        # The aim is the peers' /validate; nothing is known of their /mutate.
        aimed = (f">= {aim}", rate >= aim, str(aim)) if title == "/validate" else ("", None, "")
        value = f"{rate:.0f}/s, {load.cpu_milliseconds:.2f} ms CPU"
        yield Row(f"reviews at {title}, 8 clients", value, *aimed)
    start = found.cold_start_milliseconds
    yield Row("webhook's start", f"{start:.0f} ms", f"< {WEBHOOK_START:.0f} ms", start < WEBHOOK_START, "29 ms")
    yield _memory("webhook's memory", found.resident_mib_after_load, WEBHOOK_MB, "32 MiB")


def _memory(title: str, mib: float, aim: float, known: str) -> Row:
    return Row(title, f"{mib * _MB:.0f} MB", f"< {aim:.0f} MB", mib * _MB < aim, known)


def _most(title: str, count: int, aim: int, known: str = "") -> Row:
    return Row(title, str(count), f"<= {aim}", count <= aim, known)


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s"


def _rate(rate: float, p99: float) -> str:
    return f"{rate:.0f}/s, p99 {p99:.0f} ms"


def text(table: list[Row]) -> str:
    """The table for a terminal."""
    head = Row("figure", "here", "aim", None, "controller-runtime, kopf, 2018 (published)")
    lines = [_line(head), *map(_line, table)]
    aimed = [row for row in table if row.reached is not None]
    reached = sum(bool(row.reached) for row in aimed)
    return "\n".join([*lines, f"\n{reached} of {len(aimed)} aims reached."])


def _line(row: Row) -> str:
    mark = {None: "", True: "reached", False: "MISSED"}[row.reached]
    return f"{row.title:42} {row.value:26} {row.aim:10} {mark:8} {row.peers}".rstrip()
