"""Test the store: lists, watch events and own writes in any order end in the newest state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.informer.store import Store

if TYPE_CHECKING:
    from common.types import Json


def test_newer_version_wins() -> None:
    store, changes = _store()
    store.put(_object("a", 5))
    store.put(_object("a", 5))
    store.put(_object("a", 4))
    store.put(_object("a", 6))
    assert _versions(store) == {"a": 6}
    assert changes == [("a", None, 5), ("a", 5, 6)]


def test_own_write_calls_no_listener() -> None:
    """Neither does its watch event; a later change by another writer does."""
    store, changes = _store()
    store.put(_object("a", 5), quietly=True)
    store.put(_object("a", 5))
    assert (_versions(store), changes) == ({"a": 5}, [])
    store.put(_object("a", 6))
    assert changes == [("a", 5, 6)]


def test_late_deletion_keeps_recreated_object() -> None:
    store, changes = _store()
    store.put(_object("a", 5))
    store.put(_object("a", 9), quietly=True)
    store.remove("a", 8)
    assert _versions(store) == {"a": 9}
    assert changes == [("a", None, 5)]


@pytest.mark.parametrize("before", [[], [5]])
def test_late_response_does_not_restore_deleted_object(before: list[int]) -> None:
    """A write is stored as version 6, and the watch reports the deletion at 7 before the response arrives."""
    store, changes = _store()
    for version in (*before, 6):
        store.put(_object("a", version))
    store.remove("a", 7)
    store.put(_object("a", 6), quietly=True)
    assert _versions(store) == {}
    assert changes[-1] == ("a", 6, None)
    store.put(_object("a", 8))
    assert _versions(store) == {"a": 8}


def test_late_response_does_not_restore_unlisted_object() -> None:
    store, _ = _store()
    store.replace([], 10)
    store.put(_object("a", 9), quietly=True)
    assert _versions(store) == {}


def test_list_removes_only_objects_older_than_it() -> None:
    store, changes = _store()
    store.put(_object("gone", 3))
    store.put(_object("stays", 4))
    store.put(_object("newer", 12), quietly=True)
    store.replace([_object("stays", 4), _object("new", 8)], 10)
    assert _versions(store) == {"stays": 4, "newer": 12, "new": 8}
    assert changes[2:] == [("new", None, 8), ("gone", 3, None)]


def test_list_adds_objects_older_than_last_deletion() -> None:
    """A deletion at version 20 does not hide an object of version 15 in a list of version 30."""
    store, _ = _store()
    store.remove("other", 20)
    store.replace([_object("a", 15)], 30)
    assert _versions(store) == {"a": 15}


def test_trimmed_object_is_ignored() -> None:
    changes: list[str] = []
    store = Store(lambda obj: obj if obj["metadata"]["name"] == "ours" else None)
    store.listen(lambda name, *_: changes.append(name))
    for name in ("ours", "other"):
        store.put(_object(name, 1))
    store.remove("other", 2)
    assert list(store) == changes == ["ours"]


def test_managed_fields_are_dropped() -> None:
    store = Store()
    store.put({"metadata": {"name": "a", "resourceVersion": "1", "managedFields": [{"manager": "kubectl"}]}})
    assert store.get("a") == {"metadata": {"name": "a", "resourceVersion": "1"}}


def test_get_returns_a_copy() -> None:
    store, _ = _store()
    store.put(_object("a", 1))
    taken = store.get("a")
    assert taken is not None
    taken["metadata"]["name"] = "b"
    assert _versions(store) == {"a": 1}


def test_every_listener_is_called_once() -> None:
    store, first = _store()
    second: list[str] = []
    store.listen(lambda name, *_: second.append(name))
    store.put(_object("a", 1))
    store.remove("a", 2)
    assert [name for name, *_ in first] == second == ["a", "a"]


def test_deletion_of_unknown_object_is_ignored() -> None:
    store, changes = _store()
    store.remove("a", 1)
    assert changes == []
    assert "a" not in store
    assert store.get("a") is None


_LIVES = st.lists(st.booleans(), min_size=1, max_size=8)


@given(_LIVES, st.data())
def test_responses_among_events_end_in_newest(exists: list[bool], data: st.DataObject) -> None:
    """`exists[i]` is True if the object existed at version i + 1.

    Watch events are ordered. The response to a write arrives before or after the event of its version, or twice.
    """
    store, _ = _store()
    responses = data.draw(st.lists(st.sampled_from(range(len(exists))), max_size=6))
    for version in range(len(exists)):
        for index in [response for response in responses if data.draw(st.booleans())]:
            if exists[index] and index <= version:  # later writes come after the watch event
                store.put(_object("a", index + 1), quietly=True)
        _event(store, version, there=exists[version])
    for index in responses:
        if exists[index]:
            store.put(_object("a", index + 1), quietly=True)
    assert _versions(store) == ({"a": len(exists)} if exists[-1] else {})


@given(st.permutations([1, 2, 3, 4, 5]))
def test_versions_in_any_order_end_in_newest(versions: list[int]) -> None:
    store, changes = _store()
    for version in versions:
        store.put(_object("a", version))
    assert _versions(store) == {"a": 5}
    assert [after for _, _, after in changes] == sorted({after for _, _, after in changes})


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9)), st.dictionaries(st.sampled_from("abcd"), st.just(0))
)
def test_store_equals_list(before: dict[str, int], kept: Json) -> None:
    store, changes = _store()
    for name, version in before.items():
        store.put(_object(name, version))
    changes.clear()
    listed = dict.fromkeys(kept, 10)
    store.replace([_object(name, 10) for name in listed], 10)
    assert _versions(store) == listed
    assert {name for name, _, _ in changes} == before.keys() | listed.keys()
    assert len(changes) == len(before.keys() | listed.keys())


@pytest.mark.parametrize("names", [[], ["a"], ["a", "b"]])
def test_store_may_change_during_iteration(names: list[str]) -> None:
    store, _ = _store()
    for name in names:
        store.put(_object(name, 1))
    for name in store:
        store.remove(name, 2)
    assert len(store) == 0


def _event(store: Store, version: int, *, there: bool) -> None:
    if there:
        store.put(_object("a", version + 1))
    else:
        store.remove("a", version + 1)


def _object(name: str, version: int) -> Json:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def _versions(store: Store) -> dict[str, int]:
    return {name: version for name in store if (version := _version(store.get(name))) is not None}


def _version(obj: Json | None) -> int | None:
    return None if obj is None else int(obj["metadata"]["resourceVersion"])


def _store() -> tuple[Store, list[tuple[str, Any, Any]]]:
    """Return a store and its changes: name, version before, version after."""
    store, changes = Store(), []
    store.listen(lambda name, before, after: changes.append((name, _version(before), _version(after))))
    return store, changes
