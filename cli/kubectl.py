"""Call kubectl, which has the user's context and login. This is the only module that starts a process."""

from __future__ import annotations

import codecs
import json
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Json = dict[str, Any]
# Characters that are read from a watch at a time.
_PIECE: Final = 65536
# Logs and messages of containers may have bytes that are not UTF-8.
_ENCODING: Final = "utf-8"
_ERRORS: Final = "replace"
# Characters of a wrong answer that are shown.
_SHOWN: Final = 60
_LOG_LINE: Final = re.compile(r"[EWI]\d{4} ")


class KubectlError(Exception):
    """The cluster could not be asked, or it refused. The text is for the user."""

    @property
    def is_forbidden(self) -> bool:
        """Return True if the user lacks a permission."""
        return "(Forbidden)" in str(self) or "forbidden" in str(self).lower()


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with the flags of the user. All methods raise KubectlError."""

    flags: tuple[str, ...] = ()
    program: str = "kubectl"

    def text(self, *arguments: str, stdin: str | None = None) -> str:
        """Return what kubectl prints."""
        done = self._run(arguments, stdin)
        if done.returncode:
            raise KubectlError(_message(done.stderr) or f"kubectl {arguments[0]} failed with status {done.returncode}")
        return done.stdout

    def items(self, kinds: str, *arguments: str) -> list[Json]:
        """Return the objects of some kinds, for example `pods,services`."""
        return list(parsed(self.text("get", kinds, *arguments, "--output=json") or "{}").get("items", ()))

    def readable_items(self, kinds: str, *arguments: str) -> tuple[list[Json], str]:
        """Return the objects that the user may list, and what kubectl says about the others."""
        done = self._run(("get", kinds, *arguments, "--output=json"))
        refusal = _message(done.stderr) if done.returncode else ""
        return list(parsed(done.stdout or "{}").get("items", ())), refusal

    def find(self, kind: str, name: str, *arguments: str) -> Json | None:
        """Return an object; None if it does not exist."""
        found = self.text("get", kind, name, *arguments, "--ignore-not-found", "--output=json")
        return parsed(found) if found.strip() else None

    def watch(self, *arguments: str) -> Iterator[Json]:
        """Yield each object, then each changed object, until the watch ends."""
        command = [self.program, *self.flags, "get", *arguments, "--watch", "--output=json"]
        with self._started(command, stdout=subprocess.PIPE) as process:
            try:
                yield from documents(iter(lambda: process.stdout.read1(_PIECE), b""))  # type: ignore[union-attr]
            finally:
                process.terminate()
        if process.returncode > 0:
            raise KubectlError(f"kubectl get --watch ended with status {process.returncode}")

    def passed_through(self, *arguments: str) -> int:
        """Run kubectl with the terminal of the user; return its exit status."""
        with self._started([self.program, *self.flags, *arguments]) as process:
            return process.wait()

    def _run(self, arguments: tuple[str, ...], stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [self.program, *self.flags, *arguments]
        try:
            return subprocess.run(
                command, input=stdin, capture_output=True, check=False, encoding=_ENCODING, errors=_ERRORS
            )
        except OSError as error:
            raise _missing(error) from None

    @staticmethod
    def _started(command: list[str], stdout: int | None = None) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(command, stdout=stdout)
        except OSError as error:
            raise _missing(error) from None


def parsed(text: str) -> Json:
    """Return the JSON object that kubectl or a command in a pod printed."""
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError):
        raise KubectlError(f"kubectl printed incomplete or wrong JSON: {text[:_SHOWN]!r}. Try again.") from None


def documents(pieces: Iterable[bytes]) -> Iterator[Json]:
    """Yield each JSON object as soon as it is complete. A piece may end within a character."""
    decoder, buffer = json.JSONDecoder(), ""
    for text in codecs.iterdecode(pieces, _ENCODING, _ERRORS):
        buffer += text
        while found := _first(decoder, buffer):
            buffer = found[1]
            yield found[0]


def _message(stderr: str) -> str:
    """Return what kubectl prints for its user, without the lines of its own log."""
    return "\n".join(line for line in stderr.strip().splitlines() if not _LOG_LINE.match(line))


def _missing(error: OSError) -> KubectlError:
    return KubectlError(f"Cannot start kubectl: {error.strerror}. Install kubectl, and put it into PATH.")


def _first(decoder: json.JSONDecoder, text: str) -> tuple[Json, str] | None:
    """Return the first object and the rest; None if it is not complete."""
    text = text.lstrip()
    try:
        found, end = decoder.raw_decode(text)
    except json.JSONDecodeError:
        return None
    return found, text[end:]
