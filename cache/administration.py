"""Run the commands of an administrator in the container of a running cache."""

from __future__ import annotations

import sys
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from cache.config import ConfigError, load
from cache.model.errors import RegistryError
from cache.model.reference import Kind, Reference, parse_digest, parse_path
from cache.store.inventory import Inventory
from cache.store.layout import Layout

if TYPE_CHECKING:
    from cache.config import CacheConfig, UpstreamConfig
    from cache.store.inventory import StoredImage

USAGE: Final = """\
usage: python -m cache CONFIG.json                       run the cache
       python -m cache images CONFIG.json                list the stored images as JSON
       python -m cache purge CONFIG.json IMAGE|DIGEST    remove an image or a digest from the volume
       python -m cache metrics CONFIG.json               print the metrics of the running cache
"""
SUCCESS, FAILED, WRONG_ARGUMENTS = 0, 1, 2
# Number of arguments of each command after its name.
COMMANDS: Final = {"images": 1, "purge": 2, "metrics": 1}
_DOCKER_HUB: Final = "docker.io"
_LATEST: Final = "latest"
# Seconds for the status port of the same pod.
_PATIENCE: Final = 10.0


def main(arguments: list[str]) -> int:
    """Run one command and return its exit status."""
    name, *given = arguments
    if len(given) != COMMANDS[name]:
        sys.stderr.write(USAGE)
        return WRONG_ARGUMENTS
    try:
        config = load(Path(given[0]))
        if name == "images":
            return _print({"images": images(config)})
        if name == "purge":
            return _purge(config, given[1])
        return _metrics(config)
    except (ConfigError, RegistryError) as error:
        sys.stderr.write(f"{error}\n")
        return WRONG_ARGUMENTS
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED


def images(config: CacheConfig) -> list[dict[str, Any]]:
    """Return the stored images of all upstreams."""
    return [
        _as_json(upstream, image) for upstream in config.upstreams for image in _inventory(config, upstream).images()
    ]


def purge(config: CacheConfig, text: str) -> list[int]:
    """Remove an image or a digest; return the sizes of the removed files. Raises RegistryError for a wrong name."""
    digest = parse_digest(text)
    if digest is not None:
        removed = [_inventory(config, upstream).remove([], [digest]) for upstream in config.upstreams]
        return [size for sizes in removed for size in sizes]
    upstream, reference = image_in(config, text)
    inventory = _inventory(config, upstream)
    if reference.digest is not None:
        return inventory.remove([], [reference.digest])
    return inventory.remove([reference] if reference in inventory.tags else [], [])


def image_in(config: CacheConfig, text: str) -> tuple[UpstreamConfig, Reference]:
    """Return upstream and reference of an image name as in pods. Raises RegistryError.

    Without a host that the cache serves, the first upstream is meant.
    """
    host, _, rest = text.partition("/")
    upstream = next((each for each in config.upstreams if host in each.image_hosts), None)
    name = rest if upstream else text
    upstream = upstream or config.upstreams[0]
    name, at, digest = name.partition("@")
    repository, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", _LATEST)
    if upstream.host == _DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    found = parse_path(f"/v2/{repository}/{Kind.MANIFEST.value}/{digest if at else tag}")
    return upstream, found


def _inventory(config: CacheConfig, upstream: UpstreamConfig) -> Inventory:
    return Inventory.of(Layout(Path(config.root) / upstream.directory))


def _as_json(upstream: UpstreamConfig, image: StoredImage) -> dict[str, Any]:
    return {
        "upstream": upstream.host,
        "repository": image.repository,
        "tag": image.tag,
        "digest": str(image.digest),
        "size": image.size,
        "lastUsed": datetime.fromtimestamp(image.used, UTC).isoformat(timespec="seconds"),
        "missingBlobs": image.missing,
    }


def _purge(config: CacheConfig, text: str) -> int:
    removed = purge(config, text)
    _print({"files": len(removed), "bytes": sum(removed)})
    return SUCCESS


def _metrics(config: CacheConfig) -> int:
    host, port = config.status_listen
    # Without a host the cache listens at all addresses.
    url = f"http://{f'[{host}]' if ':' in host else host or 'localhost'}:{port}/metrics"
    with urllib.request.urlopen(url, timeout=_PATIENCE) as response:
        sys.stdout.write(response.read().decode())
    return SUCCESS


def _print(document: dict[str, Any]) -> int:
    sys.stdout.write(orjson.dumps(document).decode() + "\n")
    return SUCCESS
