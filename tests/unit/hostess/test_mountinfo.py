"""Test the parser of the kernel's mount table."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostess.hostsfile.mountinfo import parse, source_of

TABLE = """\
1104 1102 0:68 / / rw,relatime master:510 - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w
1110 1104 254:0 /etc/hosts /etc/hosts_from_host rw,relatime - ext4 /dev/vda rw
1111 1104 254:0 /var/lib/kubelet/pods/1/etc-hosts /etc/hosts rw,relatime - ext4 /dev/vda rw
1112 1104 254:0 /var/lib/kubelet/pods/2/etc-hosts /etc/hosts rw,relatime - ext4 /dev/vda rw
"""


@pytest.mark.parametrize(
    ("point", "source"),
    [
        ("/etc/hosts_from_host", "/etc/hosts"),
        ("/etc/hosts", "/var/lib/kubelet/pods/2/etc-hosts"),
        ("/etc", None),
        ("/", "/"),
    ],
)
def test_source(point: str, source: str | None) -> None:
    assert parse(TABLE, point) == source


def test_mount_table_of_this_machine() -> None:
    assert source_of(Path("/proc")) == "/"
    assert source_of(Path("/proc/self")) is None
