"""Create the registry of a program's Prometheus metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Info, PlatformCollector, ProcessCollector, disable_created_metrics

from common.version import VERSION


def new_registry() -> CollectorRegistry:
    """Return a registry with the version of the program and the figures of its process.

    Counters get no `_created` series, which would double their number.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    Info("registrymirror_build", "Version of the program.", registry=registry).info({"version": VERSION})
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry
