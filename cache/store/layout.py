"""Name the files of the store.

```
<root>/tmp/                                         unfinished files, removed at the start
<root>/tmp/removed-*/                               trees that are being deleted
<root>/<upstream>/blobs/sha256/ab/<hex>             content
<root>/<upstream>/manifests/sha256/ab/<hex>         content
<root>/<upstream>/manifests/sha256/ab/<hex>.type    media type, if the content does not name it
<root>/<upstream>/tags/<repository>/_tags/<tag>     digest, and the former one
<root>/<upstream>/pages/ab/<hash>                   referrers of one manifest
```
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from cache.model.reference import Digest, Reference

TEMPORARY: Final = "tmp"
REMOVED: Final = "removed-"
KINDS: Final = frozenset({"blobs", "manifests", "tags", "pages"})
# What the caches of mirror-operator left in the root of the volume: nginx (`levels=1:2`) and distribution.
_OF_FORMER_CACHES: Final = re.compile(r"[0-9a-f]|docker|scheduler-state\.json")
# No component of a repository name starts with an underscore.
TAGS: Final = "_tags"


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one upstream."""

    directory: Path

    def blob(self, digest: Digest) -> Path:
        """Return the path of a blob."""
        return self.directory.joinpath("blobs", digest.algorithm, digest.hex[:2], digest.hex)

    def manifest(self, digest: Digest) -> Path:
        """Return the path of a manifest."""
        return self.directory.joinpath("manifests", digest.algorithm, digest.hex[:2], digest.hex)

    def media_type(self, digest: Digest) -> Path:
        """Return the path of the media type of a manifest."""
        return self.manifest(digest).with_suffix(".type")

    def tag(self, reference: Reference) -> Path:
        """Return the path of a tag."""
        return self.directory.joinpath("tags", *reference.name.split("/"), TAGS, reference.reference)

    def page(self, key: str) -> Path:
        """Return the path of a page of referrers."""
        name = hashlib.sha256(key.encode()).hexdigest()
        return self.directory.joinpath("pages", name[:2], name)


def is_of_former_cache(name: str) -> bool:
    """Return True if a file or directory of the root belongs to a cache of mirror-operator."""
    return _OF_FORMER_CACHES.fullmatch(name) is not None


def is_area(name: str) -> bool:
    """Return True if a directory holds the content of an upstream: twelve hexadecimal digits."""
    return len(name) == 12 and all(each in "0123456789abcdef" for each in name)  # noqa: PLR2004 (short_hash)
