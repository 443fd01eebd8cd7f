"""Write the agent's metrics in the text format of Prometheus, with the standard library alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from common.agent_protocol import State
from common.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hostess.node_state import NodeState

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Sample = tuple[str, float]  # labels as in the text format, and value


@dataclass(slots=True)
class Probes:
    """The results of all probes. Times are in seconds since 1970; 0 before the first one."""

    answered: int = 0
    failed: int = 0
    last: float = 0.0
    last_answer: float = 0.0

    def count(self, now: float, *, answered: bool) -> None:
        """Count a probe of the mirror, which ended at `now`."""
        self.last = now
        if answered:
            self.answered, self.last_answer = self.answered + 1, now
        else:
            self.failed += 1


def text_of(state: NodeState, probes: Probes, *, uses_mirror: bool | None) -> str:
    """Return the page. `uses_mirror` is None if the agent cannot tell."""
    return "".join(_families(state, probes, [] if uses_mirror is None else [("", uses_mirror)]))


def _families(state: NodeState, probes: Probes, in_use: list[Sample]) -> Iterator[str]:
    results = [('{result="success"}', probes.answered), ('{result="failure"}', probes.failed)]
    states = [(f'{{state="{each.value}"}}', each is state.state) for each in State]
    yield _gauge("build_info", "Version of the program.", [(f'{{version="{VERSION}"}}', 1)])
    yield _gauge("agent_state", "1 for the state of the node.", states)
    yield _gauge("agent_state_reason", "1 for the reason of the state.", [(f'{{reason="{state.reason}"}}', 1)])
    yield _gauge("agent_mirror_in_use", "1 if the node pulls through the mirror, 0 if it bypasses it.", in_use)
    yield _family("counter", "agent_probes_total", "Probes of the mirror.", results)
    yield _gauge("agent_last_probe_timestamp_seconds", "Time of the last probe.", [("", probes.last)])
    yield _gauge("agent_last_answer_timestamp_seconds", "Time of the last answer.", [("", probes.last_answer)])


def _gauge(name: str, text: str, samples: Iterable[Sample]) -> str:
    return _family("gauge", name, text, samples)


def _family(kind: str, name: str, text: str, samples: Iterable[Sample]) -> str:
    name = f"registrymirror_{name}"
    lines = (f"{name}{labels} {float(value)}\n" for labels, value in samples)
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n{''.join(lines)}"
