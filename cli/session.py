"""Hold what a command needs: kubectl, the namespace of the system, the output and the time."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, TextIO

from cli.kubectl import Kubectl, KubectlError
from cli.objects import CONTROLLER, MIRRORS, NAME_LABEL, OBJECTS, at, current_time
from cli.output import TABLE, Listing, rendered

if TYPE_CHECKING:
    from datetime import datetime

    from cli.kubectl import Json

DEFAULT_NAMESPACE: Final = "registry-mirror"


@dataclass
class Session:
    """One call of the plugin."""

    kubectl: Kubectl
    out: TextIO
    err: TextIO
    form: str = TABLE
    given_namespace: str | None = None
    now: datetime = field(default_factory=current_time)

    @cached_property
    def namespace(self) -> str:
        """Return the namespace of the system: that of -n, of the controller, or of objects of mirrors."""
        return self.given_namespace or self._found_namespace() or DEFAULT_NAMESPACE

    def mirrors(self, name: str | None = None) -> list[Json]:
        """Return all mirrors, or one. Raises KubectlError if it does not exist."""
        if name is None:
            return self.kubectl.items(MIRRORS)
        return [self.mirror(name)]

    def mirror(self, name: str) -> Json:
        """Return a mirror. Raises KubectlError if it does not exist."""
        found = self.kubectl.find(MIRRORS, name)
        if found is None:
            known = ", ".join(str(at(each, "metadata", "name")) for each in self.kubectl.items(MIRRORS))
            raise KubectlError(f"There is no mirror {name!r}. {f'Mirrors: {known}.' if known else 'There is none.'}")
        return found

    def print(self, listing: Listing, nothing: str = "") -> None:
        """Print a listing; `nothing` is the hint for a table without rows."""
        self.out.write(rendered(listing, self.form))
        if not listing.items and nothing:
            self.hint(nothing)

    def hint(self, text: str) -> None:
        """Print a hint, which is no part of the result."""
        self.err.write(f"{text}\n")

    def _found_namespace(self) -> str:
        for kind, selector in (("deployments", f"{NAME_LABEL}={CONTROLLER}"), ("services", OBJECTS)):
            try:
                found = self.kubectl.items(kind, "--all-namespaces", f"--selector={selector}")
            except KubectlError as error:
                if not error.is_forbidden:
                    raise
                continue
            if found:
                return str(at(found[0], "metadata", "namespace"))
        return ""
