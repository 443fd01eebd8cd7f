"""How long certificates live, how early their successors are made, and how long old and new overlap."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# A day is 24 hours, as everywhere in durations; a year is 365 of them.
_YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Each default with its reason; all can be set."""

    # Nodes must learn of an authority before it is used, so seldom; but its key lies in the cluster all that time.
    authority: timedelta = 10 * _YEAR
    # Two years before its end the successor comes: what it signed last, at most a year old, ends long before it does.
    authority_lead: timedelta = 2 * _YEAR
    # Each renewal restarts the cache pods one by one: once in eight months is no burden.
    leaf: timedelta = _YEAR
    # A third of its life: four months in which a controller may be away.
    leaf_lead: timedelta = _YEAR / 3
    # The kubelet brings a changed Secret into a pod within 90 s, and in the largest clusters looks at what it had seen
    # up to 300 s before: 390 s. Twice that, for an agent that is just being restarted, and for API servers that lag.
    overlap: timedelta = timedelta(minutes=15)
    # Two weeks are enough to ask a person's own authority for another. Less than what renews itself leaves (a third of
    # 90 days is usual), so that an automatism that works is never warned of.
    warning: timedelta = timedelta(days=14)

    def problems(self) -> Iterator[str]:
        """What does not fit together, a sentence each, with the names of the settings."""
        if min(self.authority, self.authority_lead, self.leaf, self.leaf_lead, self.overlap) < timedelta(seconds=1):
            yield "CA_LIFETIME, CA_LEAD, CERTIFICATE_LIFETIME, CERTIFICATE_LEAD, CERTIFICATE_OVERLAP: at least 1s each"
        if self.authority_lead >= self.authority:
            yield "CA_LEAD must be shorter than CA_LIFETIME: the successor of an authority would be due at once"
        if self.leaf_lead >= self.leaf:
            yield "CERTIFICATE_LEAD must be shorter than CERTIFICATE_LIFETIME: each certificate would be due at once"
        if self.authority_lead < self.leaf + self.overlap:
            yield (
                "CA_LEAD must be at least CERTIFICATE_LIFETIME and CERTIFICATE_OVERLAP together: a certificate would"
                " outlive the authority that signed it"
            )
        if self.overlap >= self.leaf_lead:
            yield (
                "CERTIFICATE_OVERLAP must be shorter than CERTIFICATE_LEAD: a certificate could end while nodes are"
                " still learning of the authority of the next"
            )
        if self.warning >= self.leaf_lead:
            yield (
                "CERTIFICATE_WARNING must be shorter than CERTIFICATE_LEAD: certificates that are renewed in time"
                " would be warned of"
            )


DEFAULT = Lifetimes()
