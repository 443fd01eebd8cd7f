"""Change a node's files as an agent does, in a process that a test kills."""

from __future__ import annotations

import os
import random
import signal
import sys
from typing import TYPE_CHECKING, Any

from tests.unit.hostess.node_files import node_of

if TYPE_CHECKING:
    from hostess.node_config import Node

CHANGES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.truncate", "shutil.rmtree"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CAS = (b"one\n", b"another\n" * 50)


def steps(environment: dict[str, str]) -> list[Any]:
    """Return all changes under three settings of one mirror; the last one cleans."""
    own_name = {**environment, "SHADOW_FQDN": environment["UPSTREAM_HOST"]}
    others = {**environment, "UPSTREAM_HOST": "b.example.com:5000"}
    nodes = [node_of(each) for each in (environment, own_name, others)]
    folder = environment["CONTAINERD_CERTS_DIR"]
    literal = f"{folder}:{environment['DOCKER_CERTS_DIR']}"

    def configure(node: Node, ca: bytes) -> Any:
        return lambda: node.configure(("10.96.0.7", "fd00::7"), ca, literal)

    found: list[Any] = []
    for node in nodes:
        found += [configure(node, CAS[0]), configure(node, CAS[1]), node.withdraw]
        found += [configure(node, CAS[0])]
    return [*found, nodes[0].clean]


def main() -> None:
    """Run the steps in random order until killed."""
    every = steps(dict(os.environ))
    print("started", flush=True)  # noqa: T201 (the test waits for it)
    while True:
        random.choice(every)()  # noqa: S311 (an order, no secret)


def once(environment: dict[str, str], changes: int) -> None:
    """Run each step once, and kill the process before the change with this number."""
    left = changes

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in CHANGES or (event == "open" and arguments[2] & WRITING):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    for step in steps(environment):
        step()


if __name__ == "__main__":
    main()
