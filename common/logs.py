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
    return orjson.dumps(event, default=str).decode()


class _Forward(logging.Handler):
    """Records of libraries, in our form."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        event = "library reported"
        error = record.exc_info[1] if record.exc_info else None
        self._log.log(record.levelno, event, source=record.name, text=record.getMessage(), exc_info=error)
