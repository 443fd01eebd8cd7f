"""Simulate the lease of the API server and the candidates of an election."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.types import Json
    from controller.objects.lease import Election

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Server:
    """Hold the lease, and reject a write of an older version, as the API server does."""

    lease: Json | None = None
    version: int = 0

    def read(self) -> tuple[Json | None, int]:
        """Return the lease and its version."""
        return copy.deepcopy(self.lease), self.version

    def write(self, spec: Json, version: int) -> bool:
        """Return True if the write was stored."""
        if version != self.version:
            return False
        self.lease, self.version = {"spec": copy.deepcopy(spec)}, version + 1
        return True


@dataclass
class Candidate:
    """Simulate one process: its clock, and the steps of one attempt as in `Leadership`."""

    election: Election
    rate: float = 1.0
    offset: float = 0.0
    started: float = 0.0
    read: tuple[Json | None, int] | None = None
    response: bool | None = None
    steps: list[str] = field(default_factory=list)

    def clock(self, now: float) -> float:
        """Return the time of its own clock at the true time `now`."""
        return self.offset + self.rate * now

    def leads(self, now: float) -> bool:
        """Return True if it may write."""
        return self.election.leads(self.clock(now))

    def begin(self, now: float) -> None:
        """Begin an attempt."""
        self.started, self.read, self.response = self.clock(now), None, None
        self.steps = ["read", "write", "response"]

    def step(self, server: Server, now: float) -> None:
        """Run the next step of the attempt, at any time after the last."""
        name = self.steps.pop(0)
        if name == "read":
            self.read = server.read()
            self.election.observe(self.read[0], self.clock(now))
            if self.clock(now) < self.election.free_at():
                self.election.lost()
                self.steps = []
        elif name == "write":
            assert self.read is not None
            wall = START + timedelta(seconds=self.clock(now))
            self.response = server.write(self.election.record(self.read[0], wall), self.read[1])
        elif self.response:
            self.election.renewed(self.started)

    def attempt(self, server: Server, now: float) -> bool:
        """Run a whole attempt in no time."""
        self.begin(now)
        while self.steps:
            self.step(server, now)
        return self.leads(now)

    def release(self, server: Server, now: float) -> None:
        """Release the lease."""
        if not self.leads(now):
            return
        self.election.lost()
        lease, version = server.read()
        if lease is not None and lease["spec"]["holderIdentity"] == self.election.identity:
            wall = START + timedelta(seconds=self.clock(now))
            server.write(self.election.record(lease, wall, release=True), version)
