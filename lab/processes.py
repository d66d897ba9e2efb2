"""Long-running processes of a lab, each in a session of its own with a pid file, so that only our own are ever killed.

Used by lab.controlplane and lab.demo. A pid file holds the pid and the process's start time: after a reboot, or when
the kernel gave the number to somebody else, the start time differs and the process counts as gone.
"""

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError


@dataclass(frozen=True)
class Process:
    """A named process: where its pid file and its log are. Holds no state: any program may look at the same one."""

    name: str
    pid_file: Path
    log: Path

    def pid(self) -> int | None:
        """The pid while the process lives (a zombie does not), else None. Does not block."""
        try:
            pid, started = (int(word) for word in self.pid_file.read_text().split())
        except (OSError, ValueError):
            return None
        return pid if start_time(pid) == started else None

    def frozen(self) -> bool:
        """Whether it stands still after freeze()."""
        pid = self.pid()
        return pid is not None and _state(pid) == "T"

    def start(self, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start it unless it lives (a frozen one is thawed): idempotent, does not wait for readiness.

        Its output is added to the log. Raises LabError when the program cannot be run.
        """
        if self.pid() is not None:
            self.thaw()
            return
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.log.open("ab") as output:
                child = subprocess.Popen(
                    list(arguments),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=None if environment is None else dict(environment),
                    start_new_session=True,
                    cwd="/",
                )
        except OSError as error:
            raise LabError(f"{self.name} cannot be started: {arguments[0]}: {error.strerror}") from None
        _children.append(child)
        self.pid_file.write_text(f"{child.pid} {start_time(child.pid) or 0}\n")

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Ask it to end, and kill it after the grace period. Blocks until it is gone; idempotent."""
        self._end(signal.SIGTERM, grace_seconds)

    def kill(self) -> None:
        """Kill it at once. Blocks until it is gone; idempotent."""
        self._end(signal.SIGKILL, 10.0)

    def freeze(self) -> None:
        """Stop it from running (SIGSTOP) without ending it. Idempotent."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run again after freeze(). Idempotent."""
        self.send(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        """A signal, to it and to no other process. Idempotent."""
        with self._handle() as handle, contextlib.suppress(ProcessLookupError):
            if handle is not None:
                signal.pidfd_send_signal(handle, number)

    def _end(self, first: signal.Signals, grace_seconds: float) -> None:
        with self._handle() as handle:
            if handle is not None:
                for number, seconds in ((first, grace_seconds), (signal.SIGKILL, 10.0)):
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(handle, number)
                        signal.pidfd_send_signal(handle, signal.SIGCONT)
                    # Readable when the last thread is gone and with it every open port; a zombie leader is too early.
                    if select.select([handle], [], [], seconds)[0]:
                        break
                else:
                    raise LabError(f"{self.name} (pid {self.pid()}) does not end, not even by SIGKILL; see {self.log}")
        self.pid_file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _handle(self) -> Iterator[int | None]:
        """A pidfd of the process, which never names another one; None when it is gone."""
        pid = self.pid()
        try:
            handle = None if pid is None else os.pidfd_open(pid)
        except ProcessLookupError:
            handle = None
        try:
            yield handle if self.pid() == pid else None
        finally:
            if handle is not None:
                os.close(handle)


_children: list[subprocess.Popen[bytes]] = []


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when it is gone or a zombie. Does not block."""
    for child in [child for child in _children if child.poll() is not None]:
        _children.remove(child)
    fields = _stat(pid)
    return None if not fields or fields[0] in "ZX" else int(fields[19])


def _state(pid: int) -> str:
    fields = _stat(pid)
    return fields[0] if fields else "X"


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
