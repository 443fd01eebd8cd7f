"""Read containerd's config.toml and its imports within the mounted folder.

A file outside of it may change every setting. It becomes a doubt and is never ignored.
"""

from __future__ import annotations

import fnmatch
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hostess.containerd import registry_tables
from hostess.fs import atomic

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Configuration:
    """Contents of the files in containerd's order, and a sentence about each file that the agent cannot read.

    `changed` is the time of the last change of a file, in seconds since the epoch.
    """

    texts: tuple[bytes, ...] = ()
    doubts: tuple[str, ...] = ()
    changed: float = field(default=0.0, compare=False)


class _Doubt(Exception):
    """A file that the agent cannot read."""


def read(folder: Path, *, relative_patterns: bool) -> Configuration:
    """Return the configuration in `folder`, an empty one without config.toml.

    With `relative_patterns`, containerd looks for relative patterns beside the importing file.
    """
    main = folder / "config.toml"
    return _Loader(folder, relative_patterns).load(main) if os.path.lexists(main) else Configuration()


@dataclass(slots=True)
class _Loader:
    """Follows imports as containerd does: breadth first, each file once."""

    folder: Path
    relative_patterns: bool
    doubts: list[str] = field(default_factory=list)

    def load(self, main: Path) -> Configuration:
        texts: dict[Path, bytes] = {}
        pending = [main]
        for path in pending:  # which grows meanwhile
            if path in texts:
                continue
            try:
                texts[path] = self._content(path)
            except _Doubt as doubt:
                self.doubts.append(str(doubt))
                continue
            for pattern in registry_tables.imports(texts[path]):
                pending += self._imported(path, pattern)
        # The time of the inode, because a file that replaces another one may have an old time of its content.
        changed = max((path.stat().st_ctime for path in texts), default=0.0)
        return Configuration(tuple(texts.values()), tuple(dict.fromkeys(self.doubts)), changed)

    def _content(self, path: Path) -> bytes:
        self._check_inside(path)
        content = atomic.read_if_ours(path)
        if content is None:
            why = "cannot be read by the agent; make it readable for root" if os.path.lexists(path) else "is missing"
            raise _Doubt(f"containerd's file {path} {why}.")
        if not registry_tables.is_toml(content):
            raise _Doubt(f"containerd cannot have loaded {path}: it is no valid TOML. Correct it, restart containerd.")
        return content

    def _imported(self, parent: Path, pattern: str) -> list[Path]:
        """Return the files of one entry of `imports`; note a doubt if the agent cannot read them."""
        try:
            return self._resolved(parent, pattern)
        except _Doubt as doubt:
            self.doubts.append(str(doubt))
            return []

    def _resolved(self, parent: Path, pattern: str) -> list[Path]:
        path = Path(os.path.normpath(parent.parent / pattern))
        if self.folder not in path.parents or "\0" in pattern:
            raise _Doubt(
                f"containerd imports {pattern!r}, which the agent cannot read. Import files below {self.folder} only."
            )
        if "*" not in pattern:
            return [path]
        if any(each in pattern for each in "[\\") or not (pattern.startswith("/") or self.relative_patterns):
            raise _Doubt(f"the agent cannot follow containerd's import {pattern!r}. Write absolute paths.")
        return sorted(self._matching(self.folder, path.relative_to(self.folder).parts))

    def _matching(self, folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
        """Yield the existing paths below `folder`. As in Go, wildcards match names that begin with a dot too."""
        self._check_inside(folder)
        try:
            names = [each.name for each in folder.iterdir()]
        except NotADirectoryError:
            return
        except OSError as error:
            raise _Doubt(f"containerd's folder {folder} cannot be read by the agent; make it readable.") from error
        for name in fnmatch.filter(names, parts[0]):
            if len(parts) == 1:
                yield folder / name
            else:
                yield from self._matching(folder / name, parts[1:])

    def _check_inside(self, path: Path) -> None:
        """Raise _Doubt if a link leads out of the folder: the agent would see another file, or none."""
        real, top = os.path.realpath(path), os.path.realpath(self.folder)
        if real != top and not real.startswith(f"{top}/"):
            raise _Doubt(f"{path} of containerd is a link to outside of {self.folder}. Replace it by a file.")
