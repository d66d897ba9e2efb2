"""One machine of the lab: network, mount, UTS, IPC and PID namespaces over an overlay of this machine's root.

Called by the kinds of machines (`host.py`, `servers.py`) and by `lab.py`. Killing PID 1 of the PID namespace is what
pulling the plug is on a real one: everything in it ends at once, its disk stays.
"""

import os
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.commands import run
from lab.errors import LabError
from lab.layout import locked
from lab.machines.plan import Plan

_INIT = Path(__file__).with_name("init.sh")
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", "TERM": "xterm"}
_REAP = "\ntrap '' HUP TERM INT\nwhile :; do sleep infinity & wait $!; done\n"


def ip(commands: Sequence[str], namespace: str | None = None) -> None:
    """Run `ip` commands as one batch, inside a network namespace when one is named."""
    enter = [] if namespace is None else ["nsenter", f"--net=/run/netns/{namespace}"]
    run([*enter, "ip", "-batch", "-"], "\n".join(commands) + "\n")


@dataclass(frozen=True)
class Bind:
    """A folder of this machine that the machine sees instead of its own: data that others may read or must survive."""

    source: Path
    target: str


class Machine:
    """A machine that can be started, killed and entered. Not thread-safe for one machine; machines are independent."""

    guest_wire = False

    def __init__(self, plan: Plan, name: str, number: int) -> None:
        self.plan = plan
        self.name = name
        self.address = f"{plan.management_prefix}{number}"
        self.number = number
        self.namespace = plan.namespace(name)
        self.state = plan.state_dir / "machines" / name
        self.logs = plan.state_dir / "logs" / name
        self.neighbours: Sequence[Machine] = ()

    def binds(self) -> Sequence[Bind]:
        """Folders shared with this machine; its logs always are."""
        return [Bind(self.logs, "/var/log")]

    def boot(self) -> str:
        """The bash lines that PID 1 runs after every start."""
        return ""

    def wire(self) -> list[str]:
        """The `ip` commands inside the machine for its guest cable, eth1."""
        return ["link set eth1 up"]

    def prepare(self) -> None:
        """Write what the machine finds on its disk at its first start. Called while it is off."""

    def ready(self) -> bool:
        """Whether its service answers."""
        return self.alive()

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Put a file on the machine's disk, only while it is off: a mounted overlay's upper folder must not change."""
        target = self.state / "upper" / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def hide(self, path: str) -> None:
        """Let the machine see an empty folder here, instead of this machine's."""
        target = self.state / "upper" / path.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        os.setxattr(target, "trusted.overlay.opaque", b"y")

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it unless it runs. Returns when PID 1 is there, not when services answer. Idempotent."""
        if self.alive():
            return
        fresh = not (self.state / "upper").exists()
        for folder in ("upper", "work", "root"):
            (self.state / folder).mkdir(parents=True, exist_ok=True)
        (self.state / "pid").unlink(missing_ok=True)
        binds = self.binds()
        for bind in binds:
            bind.source.mkdir(parents=True, exist_ok=True)
        if fresh:
            self.hide("/var/lib/stratiform-lab")
            self.write("/etc/hostname", f"{self.name}\n")
            # Names are answered from this file alone: daemons stand still for seconds when they ask a dead name server.
            names = "".join(f"{machine.address} {machine.name}\n" for machine in self.neighbours)
            self.write("/etc/hosts", f"127.0.0.1 localhost\n{names}")
            self.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n")
            self.write("/etc/resolv.conf", "")
            self.prepare()
        self.write("/etc/lab/init", f"set -u\nexport {_exports()}\n{self.boot()}{_REAP}")
        self._cable()
        console = self.logs / "boot.log"
        enter = ["setsid", "--fork", "nsenter", f"--net=/run/netns/{self.namespace}", "--"]
        enter += ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "bash", str(_INIT)]
        enter += [str(self.state), self.name, *(f"{bind.source}:{bind.target}" for bind in binds)]
        with console.open("a") as log:
            subprocess.run(enter, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", check=True)
        self._await(lambda: self.pid() is not None, "its first process", 10)

    def await_ready(self, seconds: float = 30) -> None:
        """Block until its service answers; LabError with the end of its log when it does not."""
        self._await(self.ready, "its service", seconds)

    def _await(self, done: Callable[[], bool], what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise LabError.with_log(
                    f"{self.name}: {what} did not come up within {seconds:g} s", self.logs / "boot.log"
                )
            time.sleep(0.02)

    def pid(self) -> int | None:
        """PID 1 of this machine as this machine's kernel numbers it; None when it is off."""
        try:
            number, started = (self.state / "pid").read_text().split()
            stat = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            same_net = Path(f"/proc/{number}/ns/net").samefile(f"/run/netns/{self.namespace}")
        except (OSError, ValueError):
            return None
        return int(number) if stat[19] == started and stat[0] not in "ZX" and same_net else None

    def alive(self) -> bool:
        """Whether it is powered on."""
        return self.pid() is not None

    def kill(self, silent: bool = False) -> None:
        """Pull the plug. With `silent` the cables go first, so that no peer hears of it (no reset). Idempotent."""
        if silent:
            self.link(False)
        pid = self.pid()
        if pid is not None:
            _kill_and_wait(pid)
        self.link(False)

    def revive(self, seconds: float = 30) -> None:
        """Power on again with the same disk and wait for its service. Idempotent."""
        self.start()
        self.await_ready(seconds)

    # -- cables -------------------------------------------------------------------------------------------------------

    def _links(self) -> list[str]:
        links = [self.plan.management_link(self.name)]
        return [*links, self.plan.guest_link(self.name)] if self.guest_wire else links

    def link(self, up: bool) -> None:
        """Plug all cables in, or pull them. Idempotent."""
        present = [link for link in self._links() if Path("/sys/class/net", link).exists()]
        if present:
            ip([f"link set {link} {'up' if up else 'down'}" for link in present])

    def cut(self) -> None:
        """Pull the management cable; the guest wire goes on. Idempotent."""
        ip([f"link set {self.plan.management_link(self.name)} down"])

    def mend(self) -> None:
        """Plug the management cable in again. Idempotent."""
        ip([f"link set {self.plan.management_link(self.name)} up"])

    def is_cut(self) -> bool:
        """Whether the management cable is pulled."""
        try:
            flags = int(Path("/sys/class/net", self.plan.management_link(self.name), "flags").read_text(), 16)
        except OSError:
            return True
        return not flags & 1

    def _cable(self) -> None:
        """Make the network namespace with its cables, unless they are there. Idempotent."""
        if not Path("/run/netns", self.namespace).exists():
            # The first `ip netns add` since boot mounts /run/netns, and two of them at once hide each other's.
            with locked("namespaces"):
                run(["ip", "netns", "add", self.namespace])
        plan, bridges = self.plan, [self.plan.management_bridge, self.plan.guest_bridge]
        missing = [(n, link) for n, link in enumerate(self._links()) if not Path("/sys/class/net", link).exists()]
        outside, inside = [], []
        for n, link in missing:
            outside.append(f"link add {link} type veth peer name eth{n} netns {self.namespace}")
            outside.append(f"link set {link} master {bridges[n]}")
            mac = f"02:5f:{plan.index:02x}:{n:02x}:00:{self.number:02x}"
            inside.append(f"link set eth{n} address {mac}")
            if n == 0:
                inside += [f"addr add {self.address}/24 dev eth0", "link set lo up", "link set eth0 up"]
                inside.append(f"route add default via {plan.management_prefix}254")
            else:
                inside += self.wire()
        if missing:
            ip(outside)
            ip(inside, self.namespace)
        self.link(True)

    # -- inside -------------------------------------------------------------------------------------------------------

    def enter(self, argv: Sequence[str]) -> list[str]:
        """The command of this machine that runs `argv` inside; LabError when the machine is off."""
        pid = self.pid()
        if pid is None:
            raise LabError(f"{self.name} of lab {self.plan.name} is off; revive it first")
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid"]
        return ["nsenter", "--target", str(pid), *spaces, "--wdns=/", "--", "env", "-i", *_environment(), *argv]

    def exec(
        self, argv: Sequence[str], *, text: str | None = None, check: bool = True, timeout: float | None = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root, with `text` as its input, and wait for it (`timeout` in seconds).

        Raises LabError when it fails and `check` is set, subprocess.TimeoutExpired when it takes longer.
        """
        done = subprocess.run(
            self.enter(argv), input=text or "", capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and done.returncode != 0:
            reason = done.stderr.strip() or done.stdout.strip()
            raise LabError(f"{self.name}: {shlex.join(argv)}: exit code {done.returncode}: {reason}")
        return done

    def shell(self, argv: Sequence[str] = ()) -> int:
        """Give the caller's terminal to a command inside, or to a shell. Blocks; returns its exit code."""
        prompt = r"PS1=\u@\h:\w\$ "
        return subprocess.run(self.enter(argv or ["env", prompt, "bash", "--norc"]), check=False).returncode


def _environment() -> list[str]:
    return [f"{key}={value}" for key, value in _ENVIRONMENT.items()]


def _exports() -> str:
    return " ".join(_environment())


def _kill_and_wait(pid: int, seconds: float = 10) -> None:
    """SIGKILL a PID 1 and wait until its whole namespace is gone: the kernel reaps the others before it."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        if not select.select([handle], [], [], seconds)[0]:
            raise LabError(f"process {pid} did not end within {seconds:g} s of SIGKILL; see /proc/{pid}/stack")
    except ProcessLookupError:
        return
    finally:
        os.close(handle)
