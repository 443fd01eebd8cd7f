"""Schedule probes: one for all mirrors with equal parameters. Pure; `now` is a parameter."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from controller.model.observation import Verdict
    from controller.upstream.probe_messages import Question

# Seconds before a failed probe is retried. The wait doubles up to the period.
FIRST_WAIT: Final = 15.0


@dataclass(slots=True)
class _Entry:
    due: float
    wait: float = 0.0
    asking: bool = False
    verdict: Verdict | None = None
    mirrors: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Schedule:
    """Probes by parameters, with their last results. `period` is in seconds."""

    period: float
    _entries: dict[Question, _Entry] = field(default_factory=dict)
    _asked_by: dict[str, Question] = field(default_factory=dict)

    def follow(self, mirror: str, question: Question, now: float) -> Verdict | None:
        """Return the last result, or None. New parameters are due at once."""
        if self._asked_by.get(mirror) != question:
            self.forget(mirror)
            self._asked_by[mirror] = question
            self._entries.setdefault(question, _Entry(now)).mirrors.add(mirror)
        return self._entries[question].verdict

    def forget(self, mirror: str) -> None:
        """Remove a mirror, and its probe if no other mirror shares it."""
        question = self._asked_by.pop(mirror, None)
        if question is None:
            return
        entry = self._entries[question]
        entry.mirrors.discard(mirror)
        if not entry.mirrors:
            del self._entries[question]

    def clear(self) -> None:
        """Remove all probes."""
        self._entries.clear()
        self._asked_by.clear()

    def take(self, now: float) -> Question | None:
        """Return the parameters of the probe that is due for longest, or None."""
        due = [(entry.due, question) for question, entry in self._entries.items() if not entry.asking]
        first = min(due, key=lambda each: each[0], default=None)
        if first is None or first[0] > now:
            return None
        self._entries[first[1]].asking = True
        return first[1]

    def next_due(self) -> float | None:
        """Return the time of the next probe, or None."""
        return min((entry.due for entry in self._entries.values() if not entry.asking), default=None)

    def answered(self, question: Question, verdict: Verdict | None, now: float) -> list[str]:
        """Record a result and return the mirrors for which it changed."""
        entry = self._entries.get(question)
        if entry is None:
            return []  # no mirror needs it any more
        entry.asking = False
        failed = verdict is None or verdict.status == "False"
        entry.wait = min(self.period, max(FIRST_WAIT, 2 * entry.wait)) if failed else 0.0
        entry.due = now + (entry.wait or self.period)
        if verdict is None:
            return []
        # An unreachable upstream keeps its last login result.
        if failed and entry.verdict is not None:
            verdict = replace(verdict, login=entry.verdict.login)
        changed = verdict != entry.verdict
        entry.verdict = verdict
        return sorted(entry.mirrors) if changed else []

    def __len__(self) -> int:
        """Return the number of probes."""
        return len(self._entries)
