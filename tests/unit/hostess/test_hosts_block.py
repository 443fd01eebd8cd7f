"""Test that our block comes and goes, and foreign content stays byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostess.hostsfile.hosts_block import addresses, contradiction, parse, render, with_entry, without_entry

FOREIGN = st.binary().filter(lambda content: b"registry-mirror" not in content)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
ADDRESSES = st.lists(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str), min_size=1, max_size=3)


def test_block_holds_both_ip_families() -> None:
    assert with_entry(b"127.0.0.1 localhost\n", "docker", "local.docker.io", ["10.96.0.7", "fd00::7"]) == (
        b"127.0.0.1 localhost\n"
        b"# BEGIN registry-mirror docker\n"
        b"10.96.0.7\tlocal.docker.io\n"
        b"fd00::7\tlocal.docker.io\n"
        b"# END registry-mirror docker\n"
    )


@given(FOREIGN, NAMES, ADDRESSES)
def test_foreign_content_stays_byte_for_byte(content: bytes, mirror: str, addresses: list[str]) -> None:
    written = with_entry(content, mirror, "mirror.example.com", addresses)
    assert written.startswith(content)
    assert without_entry(written, mirror) == content
    assert parse(written).foreign == content
    assert list(parse(written).blocks) == [mirror]
    assert render(parse(written)) == written


@given(FOREIGN, NAMES, ADDRESSES, ADDRESSES)
def test_writing_again_replaces_the_block(content: bytes, mirror: str, before: list[str], after: list[str]) -> None:
    once = with_entry(content, mirror, "a.example.com", before)
    twice = with_entry(once, mirror, "a.example.com", after)
    assert twice == with_entry(content, mirror, "a.example.com", after)
    assert with_entry(twice, mirror, "a.example.com", after) == twice


@given(FOREIGN, st.lists(NAMES, unique=True, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_mirrors_are_removed_in_any_order(content: bytes, names: list[str], random: object) -> None:
    written = content
    for name in names:
        written = with_entry(written, name, f"{name}.example.com", ["10.0.0.1"])
    assert list(parse(written).blocks) == names
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for name in shuffled:
        written = without_entry(written, name)
    assert written == content


@given(FOREIGN, NAMES, st.data())
def test_unfinished_block_is_removed(content: bytes, mirror: str, data: st.DataObject) -> None:
    """A killed agent leaves such a block."""
    written = with_entry(content, mirror, "mirror.example.com", ["10.0.0.1", "fd00::1"])
    first_line = written.index(b"# BEGIN", len(content)) + written[len(content) :].lstrip(b"\n").index(b"\n") + 1
    cut = data.draw(st.integers(first_line, len(written)))
    assert without_entry(written[:cut], mirror) == content


def test_unfinished_line_is_dropped() -> None:
    cut = with_entry(b"", "docker", "a.example.com", ["10.0.0.1", "10.0.0.2"])[
        : -len("com\n# END registry-mirror docker\n")
    ]
    both = with_entry(cut, "quay", "b.example.com", ["10.0.0.3"])
    assert b"10.0.0.1\ta.example.com\n# END registry-mirror docker\n" in both
    assert b"10.0.0.2" not in both
    assert without_entry(without_entry(both, "docker"), "quay") == b""


def test_foreign_lines_after_a_block_stay() -> None:
    written = with_entry(b"10.0.0.1 a", "docker", "b", ["10.0.0.2"]) + b"10.0.0.3 c\n"
    assert without_entry(written, "docker") == b"10.0.0.1 a\n10.0.0.3 c\n"


@pytest.mark.parametrize(
    "address", ["", "localhost", "10.0.0.1 evil.example.com", "10.0.0.1\n10.0.0.2 x", "fd00::1%eth0\nx"]
)
def test_invalid_addresses_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="IP"):
        with_entry(b"", "docker", "a.example.com", [address])


@given(FOREIGN, NAMES, ADDRESSES, st.data())
def test_addresses_are_read_from_whole_lines(
    content: bytes, mirror: str, given_addresses: list[str], data: st.DataObject
) -> None:
    written = with_entry(content, mirror, "a.example.com", given_addresses)
    assert set(addresses(written, mirror, "a.example.com")) == set(given_addresses)
    assert addresses(written, mirror, "b.example.com") == ()
    cut = written[: data.draw(st.integers(0, len(written)))]
    assert set(addresses(cut, mirror, "a.example.com")) <= set(given_addresses)


@pytest.mark.parametrize(
    "line", [b"10.0.0.1 m.example.com\n", b" 10.0.0.1\tm.example.com \n", b"fd00::7   m.example.com"]
)
def test_line_of_the_original_agent_is_removed(line: bytes) -> None:
    """The original mirror-hostess leaves its line if it is killed."""
    before, after = b"127.0.0.1 localhost\n", b"10.0.0.2 other.example.com\n"
    for content in (before + line, before + line.rstrip() + b"\n" + after):
        written = with_entry(content, "docker", "m.example.com", ["10.0.0.1", "fd00::7"])
        assert parse(written).foreign == content.replace(line.rstrip() + b"\n", b"").replace(line, b"")


@pytest.mark.parametrize(
    "line",
    [
        b"10.0.0.9 m.example.com\n",
        b"10.0.0.1 m.example.com other\n",
        b"10.0.0.1 m.example.com # by hand\n",
        b"10.0.0.1 other.m.example.com\n",
        b"10.0.0.1 m.example.com.other\n",
        b"10.0.0.11 m.example.com\n",
        b"110.0.0.1 m.example.com\n",
        b"# 10.0.0.1 m.example.com\n",
    ],
)
def test_other_foreign_line_stays(line: bytes) -> None:
    assert parse(with_entry(line, "docker", "m.example.com", ["10.0.0.1"])).foreign == line


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", ""),
        (b"127.0.0.1 localhost\n10.0.0.1 m.example.com\n", ""),
        (b"10.0.0.9 m.example.com.other\n10.0.0.9 other.m.example.com\n", ""),
        (b"10.0.0.9 other # m.example.com\n#10.0.0.9 m.example.com\n", ""),
        (b"nonsense m.example.com\n", ""),
        (b"FD00:0::7 m.example.com\n", ""),
        (b"10.0.0.1 m.example.com\n 10.0.0.9\tother M.example.com # x\n", "10.0.0.9\tother M.example.com # x"),
        (b"10.0.0.9 m.example.com", "10.0.0.9 m.example.com"),
        (b"10.0.0.9 m.example.com\r\n", "10.0.0.9 m.example.com"),
        (b"\xff\n::1 m.example.com\n", "::1 m.example.com"),
    ],
)
def test_foreign_line_with_another_address_is_found(content: bytes, line: str) -> None:
    written = with_entry(content, "docker", "m.example.com", ["10.0.0.1", "fd00::7"])
    assert contradiction(written, "m.example.com", ["10.0.0.1", "fd00::7"]) == line


@given(FOREIGN)
def test_contradiction_is_sought_in_any_content(content: bytes) -> None:
    assert isinstance(contradiction(content, "m.example.com", ["10.0.0.1"]), str)
