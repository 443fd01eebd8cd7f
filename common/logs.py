"""Write logs as JSON lines: a constant event with key/value pairs, without objects and Secrets."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

import orjson
import structlog

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

Logger = Any  # a bound logger of structlog: its methods take an event and key/value pairs


def logger(level: str, program: str, stream: TextIO = sys.stdout) -> FilteringBoundLogger:
    """Return the logger of a program. `level` is one of DEBUG, INFO, WARNING and ERROR.

    Standard library logging from WARNING on goes to the same stream in the same form.
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
    except TypeError:  # not valid JSON (a lone surrogate, a huge number): log all values as text
        return orjson.dumps({_text(key): _text(value) for key, value in event.items()}).decode()


def _text(value: object) -> str:
    """Return any value as valid UTF-8, or its type if str() fails."""
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 (logging must never fail)
        text = f"<{type(value).__name__}>"
    return text.encode("utf-8", "backslashreplace").decode()


class _Forward(logging.Handler):
    """Forwards log records of libraries to structlog."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._log.log(_level(record), "library log", source=record.name, text=_message(record), exc_info=error)


def _level(record: logging.LogRecord) -> int:
    """Return the standard level at or below a record's level: structlog has no custom levels."""
    return max(logging.DEBUG, min(logging.CRITICAL, record.levelno // 10 * 10))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 (a library's arguments may not match its message)
        return str(record.msg)
