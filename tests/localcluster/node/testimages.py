"""Make images for tests of a given size, which no compression and no shared layer reduces."""

import random
from collections.abc import Sequence

from tests.localcluster.node.archive import Image
from tests.localcluster.node.images import busybox_tree
from tests.localcluster.node.tree import Tree

MEGABYTE = 1_000_000


def sized_image(name: str, megabytes: Sequence[float]) -> Image:
    """Return an image `name` of busybox and a layer of random bytes for each size; /marker has the name.

    The same name gives the same bytes. Two names share no layer but busybox.
    """
    layers = [_layer(name, number, size) for number, size in enumerate(megabytes)]
    command = {"Cmd": ["sh", "-c", "cat /marker; exec sleep 1000000"]}
    return Image(name, [busybox_tree().tar(), _marker(name), *layers], command)


def _marker(name: str) -> bytes:
    tree = Tree()
    tree.file("marker", f"this is {name}\n".encode())
    return tree.tar()


def _layer(name: str, number: int, megabytes: float) -> bytes:
    tree = Tree()
    content = random.Random(f"{name} {number}").randbytes(int(megabytes * MEGABYTE))  # noqa: S311 - no secret
    tree.file(f"random-{number}", content)
    return tree.tar()
