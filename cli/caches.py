"""Run commands in the cache pods of a mirror, on all replicas at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from cli.kubectl import KubectlError
from cli.objects import CACHE, at, name_of, selector

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.kubectl import Json
    from cli.session import Session

_CONTAINER: Final = "cache"
_AT_A_TIME: Final = 10
RUNNING: Final = "Running"


def pods_of(session: Session, mirror: str) -> list[Json]:
    """Return the running cache pods. Raises KubectlError without one."""
    arguments = f"--namespace={session.namespace}", f"--selector={selector(mirror, CACHE)}"
    running = [pod for pod in session.kubectl.items("pods", *arguments) if _runs(pod)]
    if not running:
        raise KubectlError(f"No cache pod of {mirror} runs. Find out why: kubectl registry-mirror doctor")
    return running


def _runs(pod: Json) -> bool:
    return at(pod, "status", "phase") == RUNNING and not at(pod, "metadata", "deletionTimestamp")


def administered(session: Session, pods: list[Json], command: str, *arguments: str) -> dict[str, str]:
    """Run a command of the cache in each pod; return the outputs by pod. Raises KubectlError if one fails."""
    return _each(pods, lambda pod: _run(session, pod, command, *arguments))


def _each(pods: list[Json], work: Callable[[Json], str]) -> dict[str, str]:
    with ThreadPoolExecutor(_AT_A_TIME) as workers:
        return dict(zip(map(name_of, pods), workers.map(work, pods), strict=True))


def _run(session: Session, pod: Json, command: str, *arguments: str) -> str:
    """Run `python3 -m cache COMMAND CONFIG ...` with the configuration of the container."""
    configuration = at(pod, "spec", "containers", 0, "args", -1, default="")
    program = ["python3", "-m", "cache", command, str(configuration), *arguments]
    try:
        return session.kubectl.text(
            "exec", name_of(pod), f"--namespace={session.namespace}", f"--container={_CONTAINER}", "--", *program
        )
    except KubectlError as error:
        hint = " You need the permission to create pods/exec." if error.is_forbidden else ""
        raise KubectlError(f"{name_of(pod)}: {error}{hint}") from None
