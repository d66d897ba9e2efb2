"""Structured logs, JSON or for a console. Called once by `python -m controllers`.

Each line of a reconcile names object, uid and reconcile id. Values under names that could carry a secret are blanked:
nobody logs such, and this is the second fence.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET = re.compile(r"password|passwd|secret|token|private|credential|user_?data|authorization", re.IGNORECASE)


def configure(form: str, level: str) -> None:
    """`form` is console or JSON. Kopf's and asyncio's own log lines take the same way."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(allow=()),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _blank,
    ]
    if form == "JSON":
        ending: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        plain = structlog.dev.plain_traceback
        ending = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending]
        )
    )
    handler.addFilter(_Chatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class _Chatter(logging.Filter):
    """Kopf calls each try of a request that it repeats an error."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.name.startswith("kopf.") and record.getMessage().startswith("Request attempt"))


def _blank(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in line:
        if _SECRET.search(name) and name != "event":
            line[name] = "***"
    return line
