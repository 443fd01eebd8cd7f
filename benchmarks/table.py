"""Print a run as a table: each figure with its goal and the published figures of the peers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks import peers
from benchmarks.peers import CONTROLLER_RUNTIME

if TYPE_CHECKING:
    from benchmarks.burst import Burst
    from benchmarks.run import Run

# Goals of the project, for 500 mirrors.
RESTART_SECONDS: Final = 2.0
RESIDENT_MB: Final = 100.0
REPAIR_MILLISECONDS: Final = 100.0
STATUS_WRITES: Final = 2
WEBHOOK_START_MILLISECONDS: Final = 500.0
WEBHOOK_MB: Final = 60.0
WEBHOOK_CPU_RATIO: Final = 1.2  # of a bare Starlette application
_MB: Final = 1.048576  # MB in a MiB


@dataclass(frozen=True)
class Row:
    """One line. `reached` is None without a goal; `peers` are published figures."""

    title: str
    value: str
    goal: str = ""
    reached: bool | None = None
    peers: str = ""


Rows = Iterator[Row]


def rows(run: Run) -> list[Row]:
    """Return all rows."""
    sections = (
        ("Burst", _burst(run)),
        ("Cost of the burst, and rest", _cost(run)),
        ("Restart of the controller", _restart(run)),
        ("Drift, time to repair", _drift(run)),
        ("Create, dry run, through the API server", _reviews(run)),
        ("Webhook alone", _webhook(run)),
    )
    return [row for title, section in sections for row in (Row(f"\n{title}", ""), *section)]


def _burst(run: Run) -> Rows:
    typical, goal = run.typical, CONTROLLER_RUNTIME.burst_seconds
    burst = typical.burst
    yield Row("limit, our six objects", _seconds(typical.limit.seconds))
    yield Row("limit, the peers' four objects", _seconds(typical.peers_limit.seconds), peers=f"{peers.LIMIT_SECONDS} s")
    known = ", ".join(f"{peer.burst_seconds:.1f}" for peer in peers.PEERS)
    whole = run.plan.mirrors == peers.MIRRORS
    yield Row(
        f"burst of {burst.mirrors} mirrors",
        _seconds(burst.seconds),
        f"< {goal:.1f} s" if whole else "",
        burst.seconds < goal if whole else None,
        f"{known} s",
    )
    known = ", ".join(f"{peer.ratio:.2f}" for peer in peers.PEERS)
    goal = CONTROLLER_RUNTIME.ratio
    yield Row("burst / limit of the same objects", f"{typical.ratio:.2f}", f"< {goal:.2f}", typical.ratio < goal, known)
    yield Row("the same with the webhook", _seconds(run.with_webhook.seconds))
    if run.full:
        yield from _full(run.full)


def _full(burst: Burst) -> Rows:
    """Yield the burst beside all controllers of Kubernetes, which change the status later too."""
    yield Row(f"{burst.mirrors} mirrors beside all controllers", _seconds(burst.seconds))
    yield _most("  most writes of one object", burst.most_writes_per_object, 1)
    status, mean = burst.most_status_writes, burst.mean_status_writes
    value = f"{status}, mean {mean:.1f}"
    yield Row("  most status writes of one mirror", value, f"<= {STATUS_WRITES}", status <= STATUS_WRITES)


def _cost(run: Run) -> Rows:
    burst = run.typical.burst
    yield Row("controller CPU", f"{burst.controller_cpu_seconds:.2f} s", peers="3.5, 10.1, 8.5 s")
    yield Row("API server CPU", f"{burst.api_server_cpu_seconds:.2f} s", peers="18.3, 12.5, 12.4 s")
    known = ", ".join(str(peer.requests_per_mirror) for peer in peers.PEERS)
    yield Row("requests per mirror", f"{burst.requests_per_mirror:.2f}", peers=known)
    yield Row("reconciles per mirror", f"{burst.reconciles / burst.mirrors:.2f}")
    yield Row("refused requests of the controller", str(burst.refused))
    yield _most("most writes of one object", burst.most_writes_per_object, 1)
    yield _most("most status writes of one mirror", burst.most_status_writes, STATUS_WRITES)
    known = ", ".join(str(peer.resident_mib) for peer in peers.PEERS)
    yield _memory("controller memory after the burst", burst.resident_mib, RESIDENT_MB, f"{known} MiB")
    yield _memory("controller memory after the restart", run.restart.resident_mib, RESIDENT_MB, "")
    yield _most(f"requests in {run.rest.seconds:.0f} s at rest", run.rest.request_count, 0, "0, 0, 0")


def _restart(run: Run) -> Rows:
    found = run.restart
    yield Row("until ready", _seconds(found.ready_seconds))
    known = ", ".join(f"{peer.restart_seconds:.1f}" for peer in peers.PEERS)
    reached = found.reconciled_seconds < RESTART_SECONDS
    goal = f"< {RESTART_SECONDS:.0f} s"
    yield Row("until all mirrors are reconciled", _seconds(found.reconciled_seconds), goal, reached, f"{known} s")
    known = ", ".join(str(peer.restart_requests) for peer in peers.PEERS)
    yield Row("requests", str(found.request_count), peers=known)
    yield _most("writes", found.writes, 0)


def _drift(run: Run) -> Rows:
    known = {"StatefulSet deleted": "19, 32 ms, never", "Service port 443 to 8443": "never, never, never"}
    for each in run.drift:
        value = f"{each.median:.1f} ms, worst {each.worst:.0f}"
        goal = f"< {REPAIR_MILLISECONDS:.0f} ms"
        yield Row(each.title, value, goal, each.median < REPAIR_MILLISECONDS, known.get(each.title, ""))


def _reviews(run: Run) -> Rows:
    ours, without = run.reviews.ours, run.reviews.without
    yield Row("1 client, no webhook", f"p50 {without.p50:.1f} p99 {without.p99:.1f} ms")
    yield Row("1 client, our webhook", f"p50 {ours.p50:.1f} p99 {ours.p99:.1f} ms")
    ratio, goal = ours.p50 / without.p50, peers.LATENCY / peers.LATENCY_WITHOUT
    yield Row("p50 with / without webhook", f"{ratio:.2f}", f"<= {goal:.2f}", ratio <= goal, f"{goal:.2f}")
    yield Row("8 clients, no webhook", _rate(without.requests_per_second, without.loaded_p99))
    yield Row("8 clients, our webhook", _rate(ours.requests_per_second, ours.loaded_p99))
    ratio, goal = ours.requests_per_second / without.requests_per_second, peers.LOADED / peers.LOADED_WITHOUT
    yield Row("requests/s with / without webhook", f"{ratio:.2f}", f">= {goal:.2f}", ratio >= goal, f"{goal:.2f}")


def _webhook(run: Run) -> Rows:
    found, goal = run.admission, peers.DIRECT_REVIEWS
    for title, load in (("/validate", found.validate), ("/mutate", found.mutate)):
        rate = load.reviews_per_second
        # The peers published only /validate.
        with_goal = (f">= {goal}", rate >= goal, str(goal)) if title == "/validate" else ("", None, "")
        value = f"{rate:.0f}/s, {load.cpu_milliseconds:.2f} ms CPU each"
        yield Row(f"reviews at {title}, 8 clients", value, *with_goal)
    for path, cpu in (("/validate", found.validate_cpu), ("/mutate", found.mutate_cpu)):
        value = f"{cpu.ratio:.2f} ({cpu.webhook:.3f} / {cpu.bare:.3f} ms)"
        reached = cpu.ratio <= WEBHOOK_CPU_RATIO
        yield Row(f"CPU at {path} / bare Starlette", value, f"<= {WEBHOOK_CPU_RATIO:.2f}", reached)
    start = found.cold_start_milliseconds
    yield Row(
        "start",
        f"{start:.0f} ms",
        f"< {WEBHOOK_START_MILLISECONDS:.0f} ms",
        start < WEBHOOK_START_MILLISECONDS,
        "29 ms",
    )
    yield _memory("memory after the load", found.resident_mib_after_load, WEBHOOK_MB, "32 MiB")


def _memory(title: str, mib: float, goal: float, known: str) -> Row:
    return Row(title, f"{mib * _MB:.0f} MB", f"< {goal:.0f} MB", mib * _MB < goal, known)


def _most(title: str, count: int, goal: int, known: str = "") -> Row:
    return Row(title, str(count), f"<= {goal}", count <= goal, known)


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s"


def _rate(rate: float, p99: float) -> str:
    return f"{rate:.0f}/s, p99 {p99:.0f} ms"


def text(table: list[Row]) -> str:
    """Return the table for a terminal."""
    head = Row("figure", "this run", "goal", None, "controller-runtime, kopf, 2018 (published)")
    lines = [_line(head), *map(_line, table)]
    with_goal = [row for row in table if row.reached is not None]
    reached = sum(bool(row.reached) for row in with_goal)
    return "\n".join([*lines, f"\n{reached} of {len(with_goal)} goals reached."])


def _line(row: Row) -> str:
    mark = {None: "", True: "reached", False: "MISSED"}[row.reached]
    title = row.title if row.title.startswith("\n") else f"  {row.title}"
    return f"{title:42} {row.value:26} {row.goal:10} {mark:8} {row.peers}".rstrip()
