"""Write a run as Markdown tables: the aims, the herds, and the stored content. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.cache.figures import CACHE, DISTRIBUTION, LARGE, OPENSSL, SMALL, TAG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from benchmarks.cache.figures import Herd, Rate, Run, SmallImages

# Aims of the project, most of them against distribution in the same run.
COLD_RATIO: Final = 1.3
FIRST_BYTE_SECONDS: Final = 1.0
COLD_CPU_SHARE: Final = 0.5
SMALL_BLOB_RATIO: Final = 5.0
TAG_RATIO: Final = 3.0
IDLE_MIB: Final = 64.0
PEAK_MIB: Final = 256.0
# Clients of the aims.
SOME, MANY, ASKING = 20, 50, 64
NOTHING: Final = ""


@dataclass(frozen=True, slots=True)
class Aim:
    """A figure with its aim."""

    title: str
    cache: str
    distribution: str
    aim: str
    reached: bool


def markdown(run: Run) -> str:
    """Return all tables."""
    aims = [
        (each.title, each.cache, each.distribution, each.aim, "yes" if each.reached else "**no**")
        for each in aims_of(run)
    ]
    return "\n".join(
        [
            _table(("figure", "cache", "distribution", "aim", "reached"), aims),
            _table(
                (
                    "herd",
                    "image",
                    "bytes from the upstream",
                    "last client",
                    "first byte, last client",
                    "CPU per GB",
                    "memory: idle, peak",
                ),
                _herds(run),
            ),
            _table(("stored content", "cache", "distribution", "openssl (limit)"), _stored(run)),
        ]
    )


def aims_of(run: Run) -> list[Aim]:
    """Return the aims whose figures the run has."""
    return [*_herd_aims(run), *_cold_aims(run), *_warm_aims(run), *_memory_aims(run)]


def _herd_aims(run: Run) -> Iterator[Aim]:
    for replicas in (1, 2):
        ours, theirs = (run.herd(engine, MANY, replicas) for engine in (CACHE, DISTRIBUTION))
        if ours and theirs:
            title = f"bytes from the upstream, {MANY} clients, {counted(replicas, 'replica')}"
            once = ours.sent_ratio == ours.most_per_blob == ours.most_per_manifest == 1.0
            yield Aim(title, _times(ours.sent_ratio), _times(theirs.sent_ratio), "1.00x", once)


def _cold_aims(run: Run) -> Iterator[Aim]:
    alone, ours, theirs = run.herd(CACHE, 1, 1), run.herd(CACHE, SOME, 1), run.herd(DISTRIBUTION, SOME, 1)
    limit = run.herd(OPENSSL, SOME, 1)
    if not (alone and ours and theirs and limit):
        return
    bound = max(COLD_RATIO * alone.seconds, limit.seconds)
    yield Aim(
        f"last of {SOME} cold clients",
        f"{ours.seconds:.1f} s",
        f"{theirs.seconds:.1f} s",
        f"{bound:.1f} s: {COLD_RATIO} times one client ({alone.seconds:.1f} s), or the limit ({limit.seconds:.1f} s)",
        ours.seconds <= bound,
    )
    seconds = ours.first_byte
    yield Aim(
        f"first byte, last of {SOME} cold clients",
        f"{seconds:.2f} s",
        f"{theirs.first_byte:.2f} s",
        f"under {FIRST_BYTE_SECONDS:.0f} s",
        seconds < FIRST_BYTE_SECONDS,
    )
    bound = COLD_CPU_SHARE * theirs.cpu_per_gb
    yield Aim(
        f"CPU per GB, {SOME} cold clients",
        f"{ours.cpu_per_gb:.2f} s",
        f"{theirs.cpu_per_gb:.2f} s",
        f"under {bound:.2f} s",
        ours.cpu_per_gb < bound,
    )


def _warm_aims(run: Run) -> Iterator[Aim]:
    for clients in (1, 8):
        ours, theirs = (run.rate(engine, LARGE, clients) for engine in (CACHE, DISTRIBUTION))
        if ours and theirs:
            yield Aim(
                f"CPU per GB, stored 60 MB blob, {counted(clients, 'client')}",
                f"{ours.cpu_per_gb:.2f} s",
                f"{theirs.cpu_per_gb:.2f} s",
                f"{theirs.cpu_per_gb:.2f} s",
                ours.cpu_per_gb <= theirs.cpu_per_gb,
            )
    for title, scene, clients, ratio in (
        ("stored 50 kB blobs", SMALL, 8, SMALL_BLOB_RATIO),
        ("manifests by tag", TAG, ASKING, TAG_RATIO),
    ):
        ours, theirs = (run.rate(engine, scene, clients) for engine in (CACHE, DISTRIBUTION))
        if ours and theirs:
            reached = ours.requests_per_second / theirs.requests_per_second
            yield Aim(
                f"{title}, {counted(clients, 'client')}",
                f"{ours.requests_per_second:.0f}/s",
                f"{theirs.requests_per_second:.0f}/s",
                f"{ratio:.0f} times distribution (now {reached:.1f})",
                reached >= ratio,
            )


def _memory_aims(run: Run) -> Iterator[Aim]:
    ours, theirs = (run.herd(engine, MANY, 1) for engine in (CACHE, DISTRIBUTION))
    if ours and theirs:
        for title, mib, other, bound in (
            ("memory, idle", ours.idle_mib, theirs.idle_mib, IDLE_MIB),
            (f"memory, peak at {MANY} cold clients", ours.peak_mib, theirs.peak_mib, PEAK_MIB),
        ):
            yield Aim(title, f"{mib:.0f} MiB", f"{other:.0f} MiB", f"{bound:.0f} MiB", mib <= bound)


def _herds(run: Run) -> Iterator[tuple[str, ...]]:
    sizes = sorted({(each.clients, each.replicas) for each in run.herds})
    for clients, replicas in sizes:
        for engine in (CACHE, DISTRIBUTION, OPENSSL):
            found = run.herd(engine, clients, replicas)
            if found:
                yield _herd(found)


def _herd(found: Herd) -> tuple[str, ...]:
    """Return the cells of a herd; the limit has no upstream."""
    is_limit = found.engine == OPENSSL
    place = "stored files" if is_limit else counted(found.replicas, "replica")
    return (
        f"{counted(found.clients, 'client')}, {place}: {found.engine}",
        f"{found.megabytes:.0f} MB",
        NOTHING if is_limit else _times(found.sent_ratio),
        f"{found.seconds:.1f} s",
        NOTHING if is_limit else f"{found.first_byte:.2f} s",
        f"{found.cpu_per_gb:.2f} s",
        NOTHING if is_limit else f"{found.idle_mib:.0f}, {found.peak_mib:.0f} MiB",
    )


def _stored(run: Run) -> Iterator[tuple[str, ...]]:
    for clients in (1, 8):
        yield _row(
            run,
            f"60 MB blob, {counted(clients, 'client')}",
            LARGE,
            clients,
            lambda rate: f"{rate.megabytes_per_second:.0f} MB/s",
        )
        yield _row(run, "the same, CPU per GB", LARGE, clients, lambda rate: f"{rate.cpu_per_gb:.2f} s")
    for title, scene, clients in (
        ("50 kB blobs", SMALL, 8),
        ("manifest by tag", TAG, 8),
        ("manifest by tag", TAG, ASKING),
    ):
        yield _row(
            run,
            f"{title}, {counted(clients, 'client')}",
            scene,
            clients,
            lambda rate: f"{rate.requests_per_second:.0f}/s",
        )
        yield _row(run, "the same, CPU per request", scene, clients, lambda rate: f"{rate.cpu_milliseconds:.2f} ms")
    small = [run.small_images(engine) for engine in (CACHE, DISTRIBUTION)]
    count = next((each.images for each in small if each), 0)
    for title, cell in _SMALL_IMAGES:
        yield (
            f"{count} small images, 8 clients, {title}",
            *(cell(each) if each else NOTHING for each in small),
            NOTHING,
        )


_SMALL_IMAGES: Final[tuple[tuple[str, Callable[[SmallImages], str]], ...]] = (
    ("cold", lambda found: f"{found.cold_seconds:.1f} s, {found.cold_cpu_seconds:.1f} s CPU"),
    ("warm", lambda found: f"{found.warm_seconds:.1f} s, {found.warm_cpu_seconds:.1f} s CPU"),
    ("cold, requests to the upstream", lambda found: f"{found.upstream_requests:.0f}"),
)


def _row(run: Run, title: str, scene: str, clients: int, cell: Callable[[Rate], str]) -> tuple[str, ...]:
    rates = (run.rate(engine, scene, clients) for engine in (CACHE, DISTRIBUTION, OPENSSL))
    return (title, *(cell(rate) if rate else NOTHING for rate in rates))


def _times(ratio: float) -> str:
    return f"{ratio:.2f}x"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{count} {noun}{'s' * (count != 1)}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
