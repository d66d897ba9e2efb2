"""What a person sees of a guest: its console and its answer on the network. Called by lab.demo and lab.__main__."""

import re
import time
import urllib.error
import urllib.request
from pathlib import Path

from lab.errors import LabError, tail

TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[a-z]|[\r\x00-\x08]")


def console_file(logs: Path, uuid: str) -> Path:
    """The newest console log of the guest of this UUID on any host of the lab; LabError when none has one.

    `logs` is the lab's folder of logs; a host's /var/log is the folder of its name in it.
    """
    found = sorted(logs.glob(f"*/libvirt/qemu/{uuid}-console.log"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise LabError(f"no host of the lab has a console log of guest {uuid}: it was never started")
    return found[-1]


def console_tail(logs: Path, uuid: str, lines: int = 15) -> str:
    """The last lines of a guest's console, without what moves a terminal's cursor."""
    text = TERMINAL.sub("", tail(console_file(logs, uuid), 4 * lines))
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


def answer(address: str, seconds: float = 60) -> str:
    """What http://ADDRESS/ says. Tried again for `seconds`, since its server may start late; LabError then."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"http://{address}/", timeout=3) as reply:
                return str(reply.read(4096).decode(errors="replace")).strip()
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > deadline:
                raise LabError(f"http://{address}/ does not answer after {seconds:.0f} s: {error}") from None
            time.sleep(0.5)
