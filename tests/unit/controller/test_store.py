"""The store holds what the cluster was last seen to hold, in whatever order lists, watches and own writes arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.informer.store import Store

if TYPE_CHECKING:
    from common.types import Json


def test_a_newer_object_replaces_an_older_one_and_an_older_one_is_ignored() -> None:
    store, heard = _store()
    store.put(_object("a", 5))
    store.put(_object("a", 4))
    store.put(_object("a", 6))
    assert _held(store) == {"a": 6}
    assert heard == [("a", None, 5), ("a", 5, 6)]


def test_the_same_version_again_is_no_news() -> None:
    store, heard = _store()
    store.put(_object("a", 5))
    store.put(_object("a", 5))
    assert heard == [("a", None, 5)]


def test_our_own_write_is_no_news_and_neither_is_the_watch_that_brings_it() -> None:
    store, heard = _store()
    store.put(_object("a", 5), quietly=True)
    store.put(_object("a", 5))
    assert _held(store) == {"a": 5}
    assert heard == []


def test_what_others_did_after_our_own_write_is_news() -> None:
    store, heard = _store()
    store.put(_object("a", 5), quietly=True)
    store.put(_object("a", 6))
    assert heard == [("a", 5, 6)]


def test_a_deletion_of_an_earlier_object_leaves_the_one_made_again_under_its_name() -> None:
    store, heard = _store()
    store.put(_object("a", 5))
    store.put(_object("a", 9), quietly=True)
    store.remove("a", 8)
    assert _held(store) == {"a": 9}
    assert heard == [("a", None, 5)]


def test_the_answer_to_our_write_that_comes_after_the_deletion_brings_no_ghost_back() -> None:
    """Our patch was stored as version 6, somebody deleted the object at 7, and the watch was faster than our answer."""
    store, heard = _store()
    store.put(_object("a", 5))
    store.put(_object("a", 6))
    store.remove("a", 7)
    store.put(_object("a", 6), quietly=True)
    assert _held(store) == {}
    assert heard[-1] == ("a", 6, None)


def test_the_answer_to_our_creation_that_comes_after_the_deletion_brings_no_ghost_back() -> None:
    store, _ = _store()
    store.put(_object("a", 6))
    store.remove("a", 7)
    store.put(_object("a", 6), quietly=True)
    store.put(_object("a", 8))
    assert _held(store) == {"a": 8}


def test_the_answer_to_our_write_that_comes_after_a_list_without_the_object_brings_no_ghost_back() -> None:
    store, _ = _store()
    store.replace([], 10)
    store.put(_object("a", 9), quietly=True)
    assert _held(store) == {}


def test_a_list_takes_away_what_is_gone_but_not_what_was_made_after_it_was_read() -> None:
    store, heard = _store()
    store.put(_object("gone", 3))
    store.put(_object("stays", 4))
    store.put(_object("made since", 12), quietly=True)
    store.replace([_object("stays", 4), _object("new", 8)], 10)
    assert _held(store) == {"stays": 4, "made since": 12, "new": 8}
    assert heard[2:] == [("new", None, 8), ("gone", 3, None)]


def test_a_list_brings_what_was_made_while_nobody_watched_however_old_it_is() -> None:
    """A deletion seen at 20 says nothing about what a list read at 30 holds."""
    store, _ = _store()
    store.remove("other", 20)
    store.replace([_object("a", 15)], 30)
    assert _held(store) == {"a": 15}


def test_what_is_of_no_interest_is_not_kept_and_nobody_hears_of_it() -> None:
    heard: list[str] = []
    store = Store(lambda live: live if live["metadata"]["name"] == "ours" else None)
    store.listen(lambda name, *_: heard.append(name))
    for name in ("ours", "theirs"):
        store.put(_object(name, 1))
    store.remove("theirs", 2)
    assert list(store) == heard == ["ours"]


def test_half_of_every_object_is_dropped_before_it_is_kept() -> None:
    store = Store()
    store.put({"metadata": {"name": "a", "resourceVersion": "1", "managedFields": [{"manager": "kubectl"}]}})
    assert store.get("a") == {"metadata": {"name": "a", "resourceVersion": "1"}}


def test_what_is_taken_out_of_the_store_is_a_copy() -> None:
    store, _ = _store()
    store.put(_object("a", 1))
    taken = store.get("a")
    assert taken is not None
    taken["metadata"]["name"] = "b"
    assert _held(store) == {"a": 1}


def test_every_listener_is_told_once() -> None:
    store, first = _store()
    second: list[str] = []
    store.listen(lambda name, *_: second.append(name))
    store.put(_object("a", 1))
    store.remove("a", 2)
    assert [name for name, *_ in first] == second == ["a", "a"]


def test_an_unknown_object_that_is_deleted_is_no_news() -> None:
    store, heard = _store()
    store.remove("a", 1)
    assert heard == []
    assert "a" not in store
    assert store.get("a") is None


_LIVES = st.lists(st.booleans(), min_size=1, max_size=8)


@given(_LIVES, st.data())
def test_any_order_of_answers_among_the_events_ends_in_the_newest(exists: list[bool], data: st.DataObject) -> None:
    """`exists[i]` says whether the object was there at version i + 1.

    A watch brings them in order; the answers to our own writes come before or after the event of the same version,
    and twice where a request was repeated.
    """
    store, _ = _store()
    answers = data.draw(st.lists(st.sampled_from(range(len(exists))), max_size=6))
    for version in range(len(exists)):
        for index in [answer for answer in answers if data.draw(st.booleans())]:
            if exists[index] and not _is_of_the_future(index, version):
                store.put(_object("a", index + 1), quietly=True)
        _event(store, version, there=exists[version])
    for index in answers:
        if exists[index]:
            store.put(_object("a", index + 1), quietly=True)
    assert _held(store) == ({"a": len(exists)} if exists[-1] else {})


def _is_of_the_future(index: int, version: int) -> bool:
    """Whether a write stored as that version has not been made yet when the watch is about to bring `version`."""
    return index > version


@given(st.permutations([1, 2, 3, 4, 5]))
def test_states_of_one_object_in_any_order_end_in_the_newest(versions: list[int]) -> None:
    store, heard = _store()
    for version in versions:
        store.put(_object("a", version))
    assert _held(store) == {"a": 5}
    assert [after for _, _, after in heard] == sorted({after for _, _, after in heard})


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9)), st.dictionaries(st.sampled_from("abcd"), st.just(0))
)
def test_after_a_list_the_store_holds_exactly_the_list(before: dict[str, int], kept: Json) -> None:
    store, heard = _store()
    for name, version in before.items():
        store.put(_object(name, version))
    heard.clear()
    listed = dict.fromkeys(kept, 10)
    store.replace([_object(name, 10) for name in listed], 10)
    assert _held(store) == listed
    assert {name for name, _, _ in heard} == before.keys() | listed.keys()
    assert len(heard) == len(before.keys() | listed.keys())


@pytest.mark.parametrize("names", [[], ["a"], ["a", "b"]])
def test_a_store_can_change_while_it_is_gone_through(names: list[str]) -> None:
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


def _held(store: Store) -> dict[str, int]:
    return {name: version for name in store if (version := _version(store.get(name))) is not None}


def _version(live: Json | None) -> int | None:
    return None if live is None else int(live["metadata"]["resourceVersion"])


def _store() -> tuple[Store, list[tuple[str, Any, Any]]]:
    """A store, and what its listener has heard: name, version before, version after."""
    store, heard = Store(), []
    store.listen(lambda name, before, after: heard.append((name, _version(before), _version(after))))
    return store, heard
