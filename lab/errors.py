"""The one error a lab raises, so that the command line and test fixtures print it and nothing else.

Raised by lab.layout, lab.processes, lab.controlplane and lab.machines; caught in lab.__main__.
"""

from pathlib import Path

TAIL_LINES = 15


class LabError(Exception):
    """Something of a lab could not be done; the message names the thing, what was seen and what to do."""

    @classmethod
    def with_log(cls, message: str, log: Path) -> "LabError":
        """The error with the last lines of a log under it. Never raises for a log that is not there."""
        return cls(f"{message}\n  last lines of {log}:\n{indent(tail(log))}")


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a file, or a word that there is none. Reads at most 64 KiB."""
    try:
        with log.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - 65536))
            text = stream.read().decode(errors="replace")
    except OSError as error:
        return f"(not readable: {error.strerror})"
    return "\n".join(text.splitlines()[-lines:]) or "(empty)"


def indent(text: str) -> str:
    """Each line moved right, for messages that quote a log."""
    return "\n".join(f"    {line}" for line in text.splitlines())
