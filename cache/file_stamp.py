"""Notice changes of mounted files."""

from __future__ import annotations

from pathlib import Path

Stamp = tuple[int, int, int]


def stamp_of(path: str | Path | None) -> Stamp:
    """Return a value that differs if the file changed; zeros if there is no file. Links are followed."""
    try:
        found = Path(path or "").stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_ino, found.st_size
