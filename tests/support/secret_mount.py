"""Mount a Secret as kubelet does: links through `..data` to a folder per version."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


class SecretMount:
    """A folder with the files of a Secret. `names` are those that may be read through a link."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self._folder = folder
        self._version = 0
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / name).symlink_to(f"..data/{name}")

    def replace(self, files: Mapping[str, bytes]) -> None:
        """Replace all files at once and remove the old version."""
        data = self._folder / "..data"
        old = data.resolve() if data.is_symlink() else None
        self._version += 1
        fresh = self._folder / f"..version_{self._version}"
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        link = self._folder / "..data_tmp"
        link.symlink_to(fresh.name)
        os.replace(link, data)  # noqa: PTH105 (the atomic rename that kubelet uses)
        if old is not None:
            shutil.rmtree(old)
