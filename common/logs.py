"""Logs as JSON lines: a constant event with key/values; never an object dump, never a Secret."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

import orjson
import structlog

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

Logger = Any  # structlog's bound logger: its methods take an event and any key/values


def logger(level: str, program: str, stream: TextIO = sys.stdout) -> FilteringBoundLogger:
    """The program's logger, to be handed to who needs it. `level` is one of DEBUG, INFO, WARNING, ERROR.

    Libraries that log by the standard library end in the same stream and form, from WARNING on.
    """
    base = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_serialised),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    log = cast("FilteringBoundLogger", base.bind(program=program))
    logging.basicConfig(level=logging.WARNING, handlers=[_Forward(log)], force=True)
    return log


def _serialised(event: dict[str, Any], **_: Any) -> str:
    try:
        return orjson.dumps(event, default=_text).decode()
    except TypeError:  # not JSON in some other way (a lone surrogate, a huge number): told as text, or it would be lost
        return orjson.dumps({_text(key): _text(value) for key, value in event.items()}).decode()


def _text(value: object) -> str:
    """Any value as valid UTF-8; one that cannot even say what it is, by its type."""
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 (a log line must not end the work that it reports)
        text = f"<{type(value).__name__}>"
    return text.encode("utf-8", "backslashreplace").decode()


class _Forward(logging.Handler):
    """Records of libraries, in our form."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._log.log(_level(record), "library reported", source=record.name, text=_message(record), exc_info=error)


def _level(record: logging.LogRecord) -> int:
    """One of the standard levels: structlog knows no others, and libraries make up their own."""
    return max(logging.DEBUG, min(logging.CRITICAL, record.levelno // 10 * 10))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 (the arguments of a library's message that do not fit it)
        return str(record.msg)
