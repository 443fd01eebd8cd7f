from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from cli.objects import age
from cli.output import JSON, NAME, TABLE, WIDE, YAML, Column, Listing, as_yaml, bytes_text, rendered

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
ITEMS = [{"name": "a", "size": "1"}, {"name": "longer", "size": ""}]
LISTING = Listing(
    (Column("NAME", lambda item: item["name"]), Column("SIZE", lambda item: item["size"], wide=True)),
    ITEMS,
    lambda item: f"thing/{item['name']}",
)


@given(DOCUMENTS)
@example({"a": [[1], {"b": []}], "no": "no", "c": "a: b", "d": "x #y", "e": "1e3", "f": "\x85"})
@example([{"a": {"b": 1}, "c": [{"d": {}}]}])
def test_yaml_is_read_as_the_same_document(document: Any) -> None:
    assert yaml.safe_load(as_yaml(document)) == document


def test_table_is_aligned() -> None:
    assert rendered(LISTING, TABLE) == "NAME\na\nlonger\n"
    assert rendered(LISTING, WIDE) == "NAME     SIZE\na        1\nlonger   -\n"


def test_documents_contain_all_items() -> None:
    assert yaml.safe_load(rendered(LISTING, JSON)) == yaml.safe_load(rendered(LISTING, YAML)) == {"items": ITEMS}
    assert rendered(LISTING, NAME) == "thing/a\nthing/longer\n"


def test_single_item_is_no_list() -> None:
    single = Listing(LISTING.columns, ITEMS[:1], LISTING.name, single=True)
    assert yaml.safe_load(rendered(single, YAML)) == ITEMS[0]


def test_empty_table_has_no_titles() -> None:
    assert rendered(Listing(LISTING.columns, [], LISTING.name)) == ""


@pytest.mark.parametrize(
    ("given_time", "shown"),
    [
        (timedelta(), "0s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(hours=2), "120m"),
        (timedelta(hours=47), "47h"),
        (timedelta(days=400), "400d"),
    ],
)
def test_age_is_short(given_time: timedelta, shown: str) -> None:
    assert age(given_time.total_seconds()) == shown


def test_bytes_have_binary_units() -> None:
    assert [bytes_text(each) for each in (0, 1023, 1024, 3 * 1024**3)] == ["0 B", "1023 B", "1.0 KiB", "3.0 GiB"]
