"""K5: one foreign thing on the node stops nothing but what needs it."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from hostess.fs.atomic import FILE_MAX
from hostess.hostsfile.hosts_file import MAX_SIZE
from hostess.node_state import NodeConfigError
from tests.unit.hostess.agent_powers import give_away, without_capabilities
from tests.unit.hostess.node_files import CA, LOCALHOST, NodeFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IP = ("10.96.0.7",)


def a_directory(folder: Path) -> None:
    (folder / "hosts.toml").mkdir()


def a_private_file(folder: Path) -> None:
    (folder / "hosts.toml").touch()
    give_away(folder / "hosts.toml", 0o600)


def a_private_folder(folder: Path) -> None:
    give_away(folder, 0o700)


def a_folder_to_pass_through(folder: Path) -> None:
    give_away(folder, 0o711)


def a_pipe(folder: Path) -> None:
    """Make a file whose reader waits for a writer."""
    os.mkfifo(folder / "hosts.toml")


def a_loop(folder: Path) -> None:
    (folder / "hosts.toml").symlink_to("hosts.toml")


def a_long_file(folder: Path) -> None:
    with (folder / "hosts.toml").open("wb") as stream:
        stream.truncate(FILE_MAX + 1)


FOREIGN = [
    *(a_directory, a_private_file, a_private_folder, a_folder_to_pass_through, a_pipe, a_loop, a_long_file),
]


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("root", ["containerd", "docker"])
def test_foreign_file_of_another_host(node: NodeFiles, root: str, foreign: Callable[[Path], None]) -> None:
    """The mirror is configured, withdrawn and cleaned as without it."""
    folder = node.put(f"etc/{root}/certs.d/quay.io/by-hand").parent
    foreign(folder)
    before = node.tree()
    with without_capabilities():
        agent = node.agent()
        agent.configure(IP, CA, None)
        assert (node.containerd / "one.example.com/hosts.toml").exists()
        node.agent(SHADOW_FQDN="other.example.com").configure(IP, CA, None)
        agent.withdraw()
        assert list(node.ours()) == []
        agent.clean()
    assert node.tree() == before


@pytest.mark.parametrize("foreign", [each for each in FOREIGN if each is not a_folder_to_pass_through])
@pytest.mark.parametrize("folder", ["containerd/certs.d/one.example.com", "docker/certs.d/_default"])
def test_foreign_file_of_own_host(node: NodeFiles, folder: str, foreign: Callable[[Path], None]) -> None:
    """Containerd reads it, so the mirror is not used and the file is named. The rest is written, and cleaned."""
    path = node.put(f"etc/{folder}/by-hand").parent
    foreign(path)
    before = node.tree()
    with without_capabilities():
        agent = node.agent()
        why = "cannot be read by the agent" if foreign is a_private_folder else "is not ours"
        with pytest.raises(NodeConfigError, match=f"{path}/hosts.toml {why}"):
            agent.configure(IP, CA, None)
        assert agent.addresses() == IP
        agent.withdraw()
        agent.clean()
    assert node.tree() == before


def a_dangling_link(certs: Path) -> None:
    certs.symlink_to("/nowhere")


def a_file(certs: Path) -> None:
    certs.touch()


@pytest.mark.parametrize("foreign", [a_dangling_link, a_file])
@pytest.mark.parametrize("reads_docker", [True, False])
def test_foreign_folder_of_docker(node: NodeFiles, foreign: Callable[[Path], None], *, reads_docker: bool) -> None:
    """Containerd does not need it. Docker does, so its problem is raised after the rest is written."""
    foreign(node.docker)
    before = node.tree()
    agent = node.agent()
    with pytest.raises(OSError, match="folder") if reads_docker else nullcontext():
        agent.configure(IP, CA, None, reads_docker=reads_docker)
    assert (node.containerd / "one.example.com/hosts.toml").exists()
    with pytest.raises(OSError, match="folder") if reads_docker else nullcontext():
        agent.introduce(IP, CA, reads_docker=reads_docker)
    agent.clean()
    assert node.tree() == before


@pytest.mark.parametrize("private", [True, False])
def test_folder_that_containerd_ignores(node: NodeFiles, *, private: bool) -> None:
    """Containerd with the only root /etc/containerd/certs.d reads nothing of docker's."""
    toml = node.put("etc/docker/certs.d/one.example.com/hosts.toml")
    if private:
        give_away(node.docker, 0o700)
    with without_capabilities():
        node.agent().configure(IP, CA, None, reads_docker=False, searches_docker=False)
        assert (node.containerd / "one.example.com/hosts.toml").exists()
        with pytest.raises(NodeConfigError, match=f"{toml} {'cannot be read' if private else 'is not ours'}"):
            node.agent().configure(IP, CA, None, reads_docker=False)


@pytest.mark.parametrize("root", ["containerd", "docker"])
def test_private_root_has_no_own_files(node: NodeFiles, root: str) -> None:
    """Do not use the mirror beside unknown files. No agent wrote in that folder, so the node is clean."""
    certs = node.put(f"etc/{root}/certs.d/by-hand").parent
    give_away(certs, 0o700)
    before = node.tree()
    with without_capabilities():
        agent = node.agent()
        with pytest.raises((NodeConfigError, OSError), match=r"certs\.d"):
            agent.configure(IP, CA, None)
        agent.withdraw()
        agent.clean()
    assert node.tree() == before


def a_long_hosts_file(hosts: Path) -> None:
    hosts.write_bytes(LOCALHOST + b"\n" + b"#" * MAX_SIZE)


def a_hosts_directory(hosts: Path) -> None:
    hosts.unlink()
    hosts.mkdir()


def a_private_hosts_file(hosts: Path) -> None:
    give_away(hosts, 0o600)


HOSTS_FILES = [a_long_hosts_file, a_hosts_directory, a_private_hosts_file]


@pytest.mark.parametrize("foreign", HOSTS_FILES)
def test_nothing_to_clean_is_clean(node: NodeFiles, foreign: Callable[[Path], None]) -> None:
    """An agent that could never write the hosts file has nothing in it."""
    foreign(node.hosts)
    before = node.tree()
    with without_capabilities():
        with pytest.raises((NodeConfigError, OSError)):
            node.agent().configure(IP, CA, None)
        node.agent().clean()
    assert node.tree() == before


@pytest.mark.parametrize("foreign", [a_private_hosts_file, a_long_hosts_file])
def test_written_hosts_file_is_not_called_clean(node: NodeFiles, foreign: Callable[[Path], None]) -> None:
    """The other files go, and the node counts as cleaned only after the hosts file is."""
    before = node.tree()
    node.agent().configure(IP, CA, None)
    written = node.hosts.read_bytes()
    foreign(node.hosts)
    node.hosts.write_bytes(written + node.hosts.read_bytes().removeprefix(written))
    with without_capabilities(), pytest.raises((NodeConfigError, OSError)):
        node.agent().clean()
    assert not node.containerd.exists()
    assert not node.docker.exists()
    node.hosts.chmod(0o644)
    os.chown(node.hosts, os.geteuid(), os.getegid())
    node.hosts.write_bytes(written)
    node.agent().clean()
    assert node.tree() == before


def test_block_of_another_mirror_in_a_long_file(node: NodeFiles) -> None:
    """It has a name that begins with the mirror's."""
    content = b"# BEGIN registry-mirror one-more\n# END registry-mirror one-more\n" + b"#" * MAX_SIZE
    node.hosts.write_bytes(content)
    node.agent().clean()
    assert node.hosts.read_bytes() == content


def test_block_beyond_the_first_part(node: NodeFiles) -> None:
    """A long file is read in parts, and a block may cross their border."""
    for padding in range((1 << 20) - 40, 1 << 20):
        node.hosts.write_bytes(b"#" * padding + b"\n# BEGIN registry-mirror one\n# END registry-mirror one\n")
        assert node.agent().hosts.has_block()
    node.agent().clean()
    assert b"BEGIN" not in node.hosts.read_bytes()
