"""Log lines for programs: each names its object, and a secret never gets through."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from controllers.engine.log import configure


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_line_names_object_uid_and_reconcile(capsys: pytest.CaptureFixture[str]) -> None:
    configure("JSON", "INFO")
    with structlog.contextvars.bound_contextvars(object="Widget team-a/one", uid="u", reconcile="r-1"):
        structlog.get_logger("test").info("tried again later", wait=1.5)
        logging.getLogger("aiohttp.client").warning("by %s", "the library")
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (ours["object"], ours["uid"], ours["reconcile"], ours["wait"]) == ("Widget team-a/one", "u", "r-1", 1.5)
    assert (theirs["event"], theirs["level"]) == ("by the library", "warning")


def test_values_under_names_of_secrets_are_blanked(capsys: pytest.CaptureFixture[str]) -> None:
    configure("console", "INFO")
    structlog.get_logger("test").info("login", password="hunter2", user_data="hunter2", bearer_token="hunter2")
    assert "hunter2" not in capsys.readouterr().err


def test_the_level_is_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    configure("console", "warning")
    structlog.get_logger("test").info("chatter")
    assert capsys.readouterr().err == ""
