"""A root file system put together from files and packages, as the layer of an image."""

import io
import posixpath
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

# Nobody reads them in a container, and they are a fifth of the bytes.
LEFT_OUT = ("usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/lintian/", "usr/share/info/")
MERGED = ("bin", "sbin", "lib", "lib64")  # links into usr/, as on every Debian since 12


class Tree:
    """Paths and what is at them; what is added later replaces what was there. Owner root, date 0, always."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[tarfile.TarInfo, bytes]] = {}

    def merged(self) -> "Tree":
        """Make /bin, /sbin, /lib and /lib64 links into /usr; returns itself."""
        for name in MERGED:
            self.folder(f"usr/{name}")
            self.link(name, f"usr/{name}")
        return self

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Add a folder; a link to a folder stays what it is."""
        path = self._resolved(path)
        known = self._entries.get(path)
        if path and not (known and known[0].issym()):
            self._add(path, tarfile.DIRTYPE, mode)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(self._resolved(path), tarfile.SYMTYPE, 0o777, target=target)

    def file(self, path: str, content: bytes | Path, mode: int = 0o644) -> None:
        """Add a file with these bytes, or with those of a file here."""
        content = content.read_bytes() if isinstance(content, Path) else content
        self._add(self._resolved(path), tarfile.REGTYPE, mode, content)

    def package(self, deb: Path) -> None:
        """Unpack a Debian package; its scripts are not run."""
        unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], check=True, stdout=subprocess.PIPE).stdout
        with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
            for member in archive:
                if not _norm(member.name).startswith(LEFT_OUT):
                    self._member(archive, member)

    def tar(self) -> bytes:
        """Return all of it as an archive, the same bytes for the same content."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for path in sorted(self._entries):
                header, content = self._entries[path]
                archive.addfile(header, io.BytesIO(content))
        return packed.getvalue()

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        if member.isdir():
            self.folder(member.name, member.mode)
        elif member.issym():
            self.link(member.name, member.linkname)
        elif content := archive.extractfile(member):  # of a hard link: what it leads to
            self.file(member.name, content.read(), member.mode)

    def _add(self, path: str, kind: bytes, mode: int, content: bytes = b"", target: str = "") -> None:
        header = tarfile.TarInfo(path)
        header.type, header.mode, header.size, header.linkname = kind, mode, len(content), target
        self._entries[path] = header, content

    def _resolved(self, path: str) -> str:
        """Return where `path` really is, links to folders followed, and make the folders above it."""
        path = _norm(path)
        for parent in _parents(path):
            known = self._entries.get(parent)
            if known and known[0].issym():
                target = posixpath.join(posixpath.dirname(parent), known[0].linkname)
                return self._resolved(target + path.removeprefix(parent))
            if not known:
                self._add(parent, tarfile.DIRTYPE, 0o755)
        return path


def _parents(path: str) -> Iterator[str]:
    """The folders above `path`, the uppermost first."""
    parts = path.split("/")
    return ("/".join(parts[:length]) for length in range(1, len(parts)))


def _norm(path: str) -> str:
    return posixpath.normpath(f"/{path}").lstrip("/")
