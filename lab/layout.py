"""Where a lab's things are: its folder, its networks and its ports, all derived from its name.

Every other module of the lab asks here, so that two labs on one machine never meet. `demo` and `test` have fixed
places, because examples/ names demo's addresses; other names take the lowest free place at first use and give it back
at down.
"""

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from lab.errors import LabError

ROOT = Path("/var/lib/stratiform-lab")
FIXED = {"demo": 0, "test": 1}
LAST_INDEX = 80
NAME = re.compile(r"[a-z][a-z0-9-]{0,11}")


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
        """Give the place back when nothing of the lab is left in its folder. Idempotent."""
        with _locked():
            if not self.state.is_dir():
                return
            left = [path for path in self.state.rglob("*") if not path.is_dir() and path.name != "index"]
            if left:
                return
            for path in sorted(self.state.rglob("*"), reverse=True):
                path.unlink() if not path.is_dir() else path.rmdir()
            self.state.rmdir()


def open_layout(name: str) -> Layout:
    """The layout of a lab, its place taken at first use. Idempotent; LabError for a bad name or no free place."""
    if not NAME.fullmatch(name):
        raise LabError(f"lab name {name!r}: use at most 12 small letters, digits and dashes, a letter first")
    with _locked():
        layout = Layout(name, _index(name))
        for folder in (layout.state, layout.logs):
            folder.mkdir(parents=True, exist_ok=True)
        (layout.state / "index").write_text(f"{layout.index}\n")
        return layout


def known_labs() -> list[str]:
    """Names of the labs that have a folder on this machine."""
    return sorted(path.parent.name for path in ROOT.glob("*/index"))


def _index(name: str) -> int:
    if name in FIXED:
        return FIXED[name]
    taken = {path.parent.name: int(path.read_text()) for path in ROOT.glob("*/index")}
    if name in taken:
        return taken[name]
    free = set(range(len(FIXED), LAST_INDEX + 1)) - set(taken.values())
    if not free:
        raise LabError(f"no place left for lab {name}: {len(taken)} labs are there; take one down (python -m lab list)")
    return min(free)


@contextmanager
def _locked() -> Iterator[None]:
    try:
        ROOT.mkdir(parents=True, exist_ok=True)
        stream = (ROOT / ".lock").open("w")
    except PermissionError as error:
        raise LabError(f"a lab needs root: {error.filename}: {error.strerror}") from None
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
