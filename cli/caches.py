"""Run commands in the cache pods of a mirror, on all replicas at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from cli.kubectl import KubectlError, parsed
from cli.objects import CACHE, at, name_of, selector, waiting_reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.kubectl import Json
    from cli.session import Session

_Result = TypeVar("_Result")
_CONTAINER: Final = "cache"
_AT_A_TIME: Final = 10
# How kubectl ends the message of a command of the cache that refuses its arguments.
_WRONG_ARGUMENTS: Final = "exit code 2"


@dataclass
class Caches:
    """The cache pods of a mirror. `silent` has those that do not answer, with the reason."""

    pods: list[Json]
    silent: dict[str, str]

    @classmethod
    def of(cls, found: list[Json]) -> Caches:
        """Return the pods that run, and the others."""
        silent = {name_of(each): reason for each in found if (reason := why_silent(each))}
        return cls([each for each in found if name_of(each) not in silent], silent)

    def ask(self, work: Callable[[Json], _Result]) -> dict[str, _Result]:
        """Return the results of the pods by name. A pod that fails becomes silent."""

        def tried(pod: Json) -> _Result | None:
            try:
                return work(pod)
            except KubectlError as error:
                if error.is_forbidden or str(error).endswith(_WRONG_ARGUMENTS):
                    raise
                self.silent[name_of(pod)] = str(error)
                return None

        with ThreadPoolExecutor(_AT_A_TIME) as workers:
            results = dict(zip(map(name_of, self.pods), workers.map(tried, self.pods), strict=True))
        self.pods = [each for each in self.pods if name_of(each) not in self.silent]
        return {name: result for name, result in results.items() if result is not None}


def caches_of(session: Session, mirror: str) -> Caches:
    """Return the cache pods of a mirror."""
    arguments = f"--namespace={session.namespace}", f"--selector={selector(mirror, CACHE)}"
    return Caches.of(session.kubectl.items("pods", *arguments))


def why_silent(pod: Json) -> str:
    """Return why no command can run in a pod; empty if one can."""
    if at(pod, "metadata", "deletionTimestamp"):
        return "It is being deleted."
    statuses = at(pod, "status", "containerStatuses", default=())
    if any(each.get("name") == _CONTAINER and at(each, "state", "running") is not None for each in statuses):
        return ""
    reason, message = waiting_reason(pod)
    return f"{reason}: {message}" if reason else "Its container does not run."


def name_silent(session: Session, caches: Caches, mirror: str) -> None:
    """Print the pods that do not answer, or that there is none."""
    for name, reason in sorted(caches.silent.items()):
        session.hint(f"{name} does not answer. {reason}")
    if not caches.pods:
        session.hint(f"No cache pod of {mirror} answers. Find out why: kubectl registry-mirror doctor")


def administered(session: Session, caches: Caches, command: str, *arguments: str) -> dict[str, str]:
    """Run a command of the cache in each pod; return the outputs by pod."""
    return caches.ask(lambda pod: _run(session, pod, command, *arguments))


def administered_documents(session: Session, caches: Caches, command: str, *arguments: str) -> dict[str, Json]:
    """Run a command of the cache that prints JSON. A pod whose answer is cut off becomes silent."""
    return caches.ask(lambda pod: parsed(_run(session, pod, command, *arguments)))


def _run(session: Session, pod: Json, command: str, *arguments: str) -> str:
    """Run `python3 -m cache COMMAND CONFIG ...` with the configuration of the container."""
    configuration = at(pod, "spec", "containers", 0, "args", -1, default="")
    program = ["python3", "-m", "cache", command, str(configuration), *arguments]
    try:
        return session.kubectl.text(
            "exec", name_of(pod), f"--namespace={session.namespace}", f"--container={_CONTAINER}", "--", *program
        )
    except KubectlError as error:
        if not error.is_forbidden:
            raise
        raise KubectlError(f"{name_of(pod)}: {error} You need the permission to create pods/exec.") from None
