"""Build a root file system from files and packages, as the layer of an image."""

import io
import posixpath
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

# A fifth of the bytes, and useless in a container.
LEFT_OUT = ("usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/lintian/", "usr/share/info/")
MERGED = ("bin", "sbin", "lib", "lib64")  # links into usr/, as in Debian 12 and newer


class Tree:
    """Files by path; later ones replace earlier ones. The owner is root and the date 0."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[tarfile.TarInfo, bytes]] = {}

    def merged(self) -> "Tree":
        """Make /bin, /sbin, /lib and /lib64 links into /usr; return itself."""
        for name in MERGED:
            self.folder(f"usr/{name}")
            self.link(name, f"usr/{name}")
        return self

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Add a folder, unless it is a link to a folder."""
        path = self._resolved(path)
        known = self._entries.get(path)
        if path and not (known and known[0].issym()):
            self._add(path, tarfile.DIRTYPE, mode)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(self._resolved(path), tarfile.SYMTYPE, 0o777, target=target)

    def file(self, path: str, content: bytes | Path, mode: int = 0o644) -> None:
        """Add a file with these bytes or those of a local file."""
        content = content.read_bytes() if isinstance(content, Path) else content
        self._add(self._resolved(path), tarfile.REGTYPE, mode, content)

    def package(self, deb: Path) -> None:
        """Unpack a Debian package without its scripts."""
        unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], check=True, stdout=subprocess.PIPE).stdout
        with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
            for member in archive:
                name = _norm(member.name)
                if not name.startswith(LEFT_OUT) or name.endswith("/copyright"):  # licences demand their text
                    self._member(archive, member)

    def contents(self, folder: str) -> list[bytes]:
        """Return the files below a folder, sorted by path."""
        found = sorted((path, content) for path, (_, content) in self._entries.items() if path.startswith(f"{folder}/"))
        return [content for _, content in found if content]

    def tar(self) -> bytes:
        """Return a reproducible archive of all files."""
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
        elif content := archive.extractfile(member):  # follows hard links
            self.file(member.name, content.read(), member.mode)

    def _add(self, path: str, kind: bytes, mode: int, content: bytes = b"", target: str = "") -> None:
        header = tarfile.TarInfo(path)
        header.type, header.mode, header.size, header.linkname = kind, mode, len(content), target
        self._entries[path] = header, content

    def _resolved(self, path: str) -> str:
        """Return the path after links to folders; create its parents."""
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
    """Return the parents of `path` from the top."""
    parts = path.split("/")
    return ("/".join(parts[:length]) for length in range(1, len(parts)))


def _norm(path: str) -> str:
    return posixpath.normpath(f"/{path}").lstrip("/")
