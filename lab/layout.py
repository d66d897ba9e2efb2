"""Where a lab's things are: its folder, its networks and its ports, all derived from its name.

Every other module of the lab asks here, so that two labs on one machine never meet. `demo` and `test` have fixed
places, because examples/ names demo's addresses; other names get the lowest free number at first use and keep it.
"""

import fcntl
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TextIO

from lab.errors import LabError

ROOT = Path("/var/lib/stratiform-lab")
FIXED = {"demo": 0, "test": 1}
LAST_INDEX = 82  # 10.(90 + 2 * 82) is 10.254, the last pair of networks.
SERVICES = IPv4Network("10.96.0.0/12")
"""No lab's networks are there: the operator fetches no image from the range that clusters use (its cluster_cidrs)."""
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,19}")


@dataclass(frozen=True)
class Layout:
    """One lab's place on the machine. `index` n gives networks 10.(90+2n).0.0/24 and 10.(91+2n).0.0/24."""

    name: str
    index: int

    @property
    def state(self) -> Path:
        """The lab's folder; everything it keeps is below, and goes with `down`."""
        return ROOT / self.name

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def pki(self) -> Path:
        """Client PKI of the libvirt hosts (the control plane keeps its own below `controlplane/`)."""
        return self.state / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.state / "kubeconfig"

    @property
    def operator_kubeconfig(self) -> Path:
        """Of the identity system:serviceaccount:stratiform-system:stratiform."""
        return self.state / "operator.kubeconfig"

    @property
    def management(self) -> IPv4Network:
        """Where operator, hosts and storage servers talk."""
        return IPv4Network(f"10.{90 + 2 * self.index}.0.0/24")

    @property
    def wire(self) -> IPv4Network:
        """Where guests talk."""
        return IPv4Network(f"10.{91 + 2 * self.index}.0.0/24")

    def address(self, last: int) -> IPv4Address:
        """The management address that ends in `last`: .254 this machine, .2 NFS, .4 templates, .11 and on the hosts."""
        return self.management.network_address + last

    @property
    def api_port(self) -> int:
        return 16443 + 10 * self.index

    @property
    def etcd_port(self) -> int:
        return self.api_port + 1

    @property
    def etcd_peer_port(self) -> int:
        return self.api_port + 2

    @property
    def controller_manager_port(self) -> int:
        return self.api_port + 3

    @property
    def operator_port(self) -> int:
        """For the operator's metrics and probes."""
        return self.api_port + 4

    def release(self) -> None:
        """Remove the lab's folder when nothing is left in it but folders. Idempotent."""
        if self.state.is_dir() and all(path.is_dir() for path in self.state.rglob("*")):
            for path in sorted(self.state.rglob("*"), reverse=True):
                path.rmdir()
            self.state.rmdir()


def open_layout(name: str) -> Layout:
    """The layout of a lab, its number given at first use. Idempotent; LabError for a bad name or no free number."""
    if not NAME.fullmatch(name):
        raise LabError(f"lab name {name!r}: use at most 20 lower-case letters, digits and dashes, as in 'demo'")
    layout = Layout(name, lab_index(name))
    layout.logs.mkdir(parents=True, exist_ok=True)
    return layout


def known_labs() -> list[str]:
    """Names of the labs that have a folder on this machine."""
    return sorted(path.name for path in ROOT.glob("*") if path.is_dir())


def lab_index(name: str) -> int:
    """The number of this lab: the same for ever once given, so that addresses in a person's files stay right."""
    if name in FIXED:
        return FIXED[name]
    registry, numbers = ROOT / "labs.json", usable()
    with locked("registry"):
        known: dict[str, int] = json.loads(registry.read_text()) if registry.exists() else {}
        if known.get(name) in numbers:
            return known[name]
        if len(known) >= len(numbers):
            known = {other: number for other, number in known.items() if (ROOT / other).exists()}
        free = numbers - set(known.values())
        if not free:
            raise LabError(f"no addresses left for lab {name!r}: {len(known)} labs are up; take one down first")
        known[name] = min(free)
        draft = registry.with_suffix(".new")
        draft.write_text(json.dumps(known, indent=1) + "\n")
        draft.replace(registry)
        return known[name]


def usable() -> set[int]:
    """Numbers for labs without a fixed place."""
    labs = [Layout("", index) for index in range(len(FIXED), LAST_INDEX + 1)]
    return {lab.index for lab in labs if not lab.management.overlaps(SERVICES)}


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a named lock of this machine's labs. Blocks while another process holds it; LabError without root."""
    with _lock(name) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def locked_or(refusal: str, name: str) -> Iterator[None]:
    """As `locked`, but raises LabError with `refusal` at once while another process holds it."""
    with _lock(name) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError(refusal) from None
        yield


def _lock(name: str) -> TextIO:
    try:
        ROOT.mkdir(parents=True, exist_ok=True)
        return (ROOT / f".{name}.lock").open("w")
    except PermissionError as error:
        raise LabError(f"a lab needs root: {error.filename}: {error.strerror}") from None
