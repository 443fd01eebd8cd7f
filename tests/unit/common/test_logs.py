"""Check that every event is one line of JSON."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from common import logs
from tests.support import strategies

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    """Restore the handlers of the process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


class Unprintable:
    """An object whose str() fails."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().removesuffix("\n").split("\n") if line]


def test_event_has_time_level_and_program() -> None:
    stream = io.StringIO()
    logs.logger("INFO", "webhook", stream).info("reviewed", name="docker", allowed=True)
    (line,) = _lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "reviewed", "level": "info", "program": "webhook", "name": "docker", "allowed": True}


def test_lower_levels_are_dropped() -> None:
    stream = io.StringIO()
    log = logs.logger("WARNING", "webhook", stream)
    log.info("probed")
    log.debug("looked")
    log.warning("slow")
    assert [line["event"] for line in _lines(stream)] == ["slow"]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("\ud800", id="a lone surrogate"),
        pytest.param(2**64, id="more than 64 bits"),
        pytest.param({1: 2}, id="a key that is no text"),
        pytest.param({"a": {"\udfff": "\ud800"}}, id="surrogates within"),
        pytest.param(strategies.nested(300), id="deeply nested"),
        pytest.param(float("nan"), id="NaN"),
        pytest.param(b"\xff", id="bytes"),
        pytest.param({1, 2}, id="a set"),
        pytest.param(Unprintable(), id="unprintable"),
        pytest.param(ValueError("\ud800"), id="an error"),
        pytest.param("a\nb\x00\u2028", id="line breaks"),
        pytest.param(10**5000, id="more digits than Python prints"),
    ],
)
def test_non_json_value_is_logged(value: object) -> None:
    stream = io.StringIO()
    logs.logger("INFO", "webhook", stream).info("reviewed", value=value, name="docker")
    (line,) = _lines(stream)
    assert (line["event"], line["name"]) == ("reviewed", "docker")
    assert "value" in line


@given(strategies.json_values())
def test_any_value_is_one_line(value: Any) -> None:
    stream = io.StringIO()
    logs.logger("INFO", "webhook", stream).info("reviewed", value=value)
    assert len(_lines(stream)) == 1
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().encode()


def test_exception_has_trace_in_same_line() -> None:
    stream = io.StringIO()
    log = logs.logger("INFO", "webhook", stream)
    try:
        int("why")
    except ValueError:
        log.exception("failed")
    (line,) = _lines(stream)
    assert "ValueError: invalid literal" in line["exception"]


@pytest.mark.parametrize("level", [logging.WARNING, 35, logging.ERROR, logging.CRITICAL, 99])
def test_library_logs_are_forwarded(level: int) -> None:
    stream = io.StringIO()
    logs.logger("INFO", "webhook", stream)
    logging.getLogger("some.library").log(level, "lost %s", "it")
    (line,) = _lines(stream)
    assert (line["event"], line["source"], line["text"]) == ("library log", "some.library", "lost it")


def test_library_info_is_dropped() -> None:
    stream = io.StringIO()
    logs.logger("DEBUG", "webhook", stream)
    logging.getLogger("some.library").info("chatter")
    assert not stream.getvalue()


def test_unformattable_library_message_is_logged() -> None:
    stream = io.StringIO()
    logs.logger("INFO", "webhook", stream)
    logging.getLogger("some.library").warning("lost %d of %s", *["it"])
    logging.getLogger("some.library").warning("lost %s", Unprintable())
    assert [line["text"] for line in _lines(stream)] == ["lost %d of %s", "lost %s"]
