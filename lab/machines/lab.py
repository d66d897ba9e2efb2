"""All machines of one lab together: up, down, status. Called by the lab's command line, the demo and tests."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.commands import run
from lab.errors import LabError
from lab.guest import template
from lab.layout import locked
from lab.machines import mountnfs, pki
from lab.machines.host import Host
from lab.machines.machine import Machine, ip
from lab.machines.plan import Plan
from lab.machines.servers import DhcpServer, NfsServer, WebServer

Say = Callable[[str], None]
_FIRST_HOST = 11
_MAX_HOSTS = 100
_FOLDERS = ("machines", "nfs", "web", "pki", "authority")


@dataclass(frozen=True)
class Options:
    """What a lab consists of; kept in its state, so that later calls need only the name."""

    hosts: int = 3
    plaintext_hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class MachineStatus:
    """One line of `status`: alive and well, or what is wrong."""

    name: str
    role: str
    address: str
    pid: int | None
    problem: str | None


class Machines:
    """The machines of the lab of this name. `up` and `down` hold a lock of the lab; the rest may run beside them."""

    def __init__(self, name: str, hosts: int | None = None, plaintext_hosts: tuple[str, ...] | None = None) -> None:
        """Nothing is started. What is not given is taken from the lab's last `up`, else three hosts over TLS only."""
        self.plan = Plan.of(name)
        kept = self._kept()
        self.options = Options(
            hosts=kept.hosts if hosts is None else hosts,
            plaintext_hosts=kept.plaintext_hosts if plaintext_hosts is None else plaintext_hosts,
        )
        if not 1 <= self.options.hosts <= _MAX_HOSTS:
            raise LabError(
                f"lab {name}: {self.options.hosts} hosts were asked for; from 1 to {_MAX_HOSTS} are possible"
            )
        self.nfs = NfsServer(self.plan)
        self.web = WebServer(self.plan)
        self.net = DhcpServer(self.plan)
        names = [f"node-{n + 1}" for n in range(self.options.hosts)]
        self.hosts = [
            Host(self.plan, name, _FIRST_HOST + n, plaintext=name in self.options.plaintext_hosts)
            for n, name in enumerate(names)
        ]
        for machine in self.machines():
            machine.neighbours = self.machines()

    # -- what others need to know -------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The lab's name."""
        return self.plan.name

    @property
    def state_dir(self) -> Path:
        """Everything this lab keeps on disk."""
        return self.plan.state_dir

    @property
    def pki_dir(self) -> Path:
        """Flat folder for `pkipath=`; in it `foreign/` (an authority no host knows, flat too) and `ssh/`."""
        return self.state_dir / "pki"

    @property
    def foreign_pki_dir(self) -> Path:
        """As `pki_dir`, of an authority that no host knows."""
        return self.pki_dir / "foreign"

    @property
    def prefix(self) -> str:
        """First three octets, with the dot, of the management network."""
        return self.plan.management_prefix

    @property
    def guest_prefix(self) -> str:
        """First three octets, with the dot, of the guest wire."""
        return self.plan.guest_prefix

    @property
    def template_url(self) -> str:
        """Where the guest template is served."""
        return self.web.url + template.FILE_NAME

    @property
    def template_checksum(self) -> str:
        """`sha256:…` of the template this lab serves; LabError before the first `up`."""
        written = self.web.folder / (template.FILE_NAME + ".sha256")
        if not written.exists():
            raise LabError(f"lab {self.name} serves no template yet; bring it up first")
        return "sha256:" + written.read_text().split()[0]

    def logs(self, machine: Machine) -> Path:
        """The folder on this machine that a machine has as /var/log."""
        return machine.logs

    def machines(self) -> list[Machine]:
        """All of them, servers first."""
        return [self.nfs, self.web, self.net, *self.hosts]

    def machine(self, name: str) -> Machine:
        """The machine of this name; LabError that lists the names when there is none."""
        for machine in self.machines():
            if machine.name == name:
                return machine
        raise LabError(f"lab {self.name} has no machine {name!r}; it has {', '.join(m.name for m in self.machines())}")

    def host(self, name: str) -> Host:
        """The libvirt host of this name; LabError when there is none."""
        machine = self.machine(name)
        if not isinstance(machine, Host):
            raise LabError(f"machine {name} of lab {self.name} is not a libvirt host")
        return machine

    # -- up -----------------------------------------------------------------------------------------------------------

    def up(self, say: Say = lambda text: None) -> None:
        """Bring up what is not up: machines, libvirtd, pulled cables. Blocks until all answer. Idempotent."""
        with locked(f"{self.name}.up"):
            self._refuse_other_options()
            _check_root()
            if self._all_well():
                say(f"lab {self.name}: everything is up")
                return
            began = time.monotonic()
            with ThreadPoolExecutor(8, "lab") as pool:
                built_mount = pool.submit(mountnfs.build, say)
                served = pool.submit(self._serve_template, say)
                self._remember()
                self._certificates()
                self._bridges()
                for host in self.hosts:
                    host.install_mount_nfs(built_mount.result())
                list(pool.map(lambda machine: self._bring_up(machine, say), self.machines()))
                served.result()
            say(f"lab {self.name}: {len(self.machines())} machines are up after {time.monotonic() - began:.1f} s")

    def _bring_up(self, machine: Machine, say: Say) -> None:
        began = time.monotonic()
        machine.link(True)
        if isinstance(machine, Host) and machine.libvirtd_state() == "T":
            machine.thaw_libvirtd()
        machine.revive()
        say(f"{machine.name} ({machine.address}) answers after {time.monotonic() - began:.1f} s")

    def _kept(self) -> Options:
        kept = self.state_dir / "machines.json"
        if not kept.exists():
            return Options()
        values = json.loads(kept.read_text())
        return Options(hosts=values["hosts"], plaintext_hosts=tuple(values["plaintext_hosts"]))

    def _refuse_other_options(self) -> None:
        """A lab that is there may only get more hosts: the disks of the others are already written."""
        kept = self._kept()
        if not (self.state_dir / "machines").exists():
            return
        fewer, other = self.options.hosts < kept.hosts, self.options.plaintext_hosts != kept.plaintext_hosts
        if fewer or other:
            raise LabError(
                f"lab {self.name} is there with {kept.hosts} hosts, without TLS: {kept.plaintext_hosts or 'none'}; "
                f"asked were {self.options.hosts} and {self.options.plaintext_hosts or 'none'}. Take it down first"
            )

    def _remember(self) -> None:
        self.state_dir.mkdir(parents=True, exist_ok=True)
        (self.state_dir / "machines.json").write_text(json.dumps(asdict(self.options)) + "\n")

    def _all_well(self) -> bool:
        same = self._kept() == self.options
        return same and (self.state_dir / "machines.json").exists() and all(s.problem is None for s in self.status())

    def _certificates(self) -> None:
        authority = pki.Authority(self.state_dir / "authority", f"lab {self.name}")
        if not (self.pki_dir / "cacert.pem").exists():
            foreign = pki.Authority(self.state_dir / "authority/foreign", "somebody else")
            pki.write_flat(self.foreign_pki_dir, foreign, foreign.issue("somebody-else"))
            pki.write_flat(self.pki_dir, authority, authority.issue("stratiform"))
        pki.ssh_pair(self.pki_dir / "ssh/id_ed25519")
        keys = {host.address: pki.ssh_pair(self.state_dir / "authority" / f"ssh-{host.name}") for host in self.hosts}
        lines = "".join(f"{address} {key.public}\n" for address, key in keys.items())
        (self.pki_dir / "ssh/known_hosts").write_text(lines)

    def _bridges(self) -> None:
        wanted = [
            (self.plan.management_bridge, f"{self.prefix}254"),
            (self.plan.guest_bridge, f"{self.guest_prefix}1"),
        ]
        commands = []
        for number, (bridge, address) in enumerate(wanted):
            if not Path("/sys/class/net", bridge).exists():
                # A fixed address, or the bridge takes another one with every cable and neighbour tables go stale.
                mac = f"02:5f:{self.plan.index:02x}:{number:02x}:00:fe"
                commands.append(f"link add {bridge} address {mac} type bridge forward_delay 0 stp_state 0")
                commands.append(f"addr add {address}/24 dev {bridge}")
                commands.append(f"link set {bridge} up")
        if commands:
            ip(commands)

    def _serve_template(self, say: Say) -> None:
        """Once in a lab's life, so that its checksum stays what was applied."""
        folder = self.web.folder
        if (folder / (template.FILE_NAME + ".sha256")).exists():
            return
        built = template.build(say)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in ((template.FILE_NAME, None), (template.FILE_NAME + ".sha256", built.sha256 + "\n")):
            draft = folder / f".{name}.new"
            if content is None:
                shutil.copyfile(built.path, draft)
            else:
                draft.write_text(content)
            draft.replace(folder / name)

    # -- down and status ----------------------------------------------------------------------------------------------

    def down(self, say: Say = lambda text: None) -> None:
        """End every machine and remove what belongs to the lab, its disks too. Asks nothing of daemons. Idempotent."""
        with locked(f"{self.name}.up"):
            began = time.monotonic()
            folders = self.state_dir / "machines"
            known = [Machine(self.plan, folder.name, 0) for folder in folders.iterdir()] if folders.exists() else []
            with ThreadPoolExecutor(8, "lab") as pool:
                list(pool.map(lambda machine: machine.kill(), known))
            self._remove_networks()
            for path in [*(machine.logs for machine in known), *(self.state_dir / name for name in _FOLDERS)]:
                shutil.rmtree(path, ignore_errors=True)
            (self.state_dir / "machines.json").unlink(missing_ok=True)
            self.plan.layout.release()  # Others, as the control plane, may keep things there.
            say(f"lab {self.name}: machines are gone after {time.monotonic() - began:.1f} s")

    def _remove_networks(self) -> None:
        for bridge in (self.plan.management_bridge, self.plan.guest_bridge):
            ports = Path("/sys/class/net", bridge, "brif")
            names = [port.name for port in ports.iterdir()] if ports.exists() else []
            commands = [f"link del {name}" for name in [*names, *([bridge] if ports.exists() else [])]]
            if commands:
                ip(commands)
        mine = sorted(Path("/run/netns").glob(self.plan.namespace("*")))
        for namespace in mine:
            for pid in run(["ip", "netns", "pids", namespace.name]).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)  # Somebody's shell, or a start that was broken off half-way.
            run(["ip", "netns", "del", namespace.name])
        # `ip netns` leaves its folder mounted for ever; the last lab takes that away too.
        with locked("namespaces"):
            folder = Path("/run/netns")
            while folder.is_dir() and not any(folder.iterdir()) and _mounted(folder):
                if subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode != 0:
                    break

    def status(self) -> list[MachineStatus]:
        """How each machine is, in a few milliseconds: no question is put to a daemon but a TCP connect."""
        return [self._status(machine) for machine in self.machines()]

    def _status(self, machine: Machine) -> MachineStatus:
        roles = {NfsServer: "NFS server", WebServer: "template server", DhcpServer: "DHCP server", Host: "libvirt host"}
        pid = machine.pid()
        problem = None
        if pid is None:
            problem = "off"
        elif machine.is_cut():
            problem = "management cable pulled"
        elif isinstance(machine, Host) and machine.libvirtd_state() in (None, "T"):
            problem = "libvirtd frozen" if machine.libvirtd_state() == "T" else "libvirtd does not run"
        elif not machine.ready():
            problem = "does not answer"
        return MachineStatus(machine.name, roles[type(machine)], machine.address, pid, problem)


def _check_root() -> None:
    """An overlay over / shows nothing of what is mounted below it."""
    for folder in ("/usr", "/etc"):
        if Path(folder).stat().st_dev != Path("/").stat().st_dev:
            raise LabError(f"{folder} is a file system of its own here; a lab's machines need it on the same one as /")


def _mounted(folder: Path) -> bool:
    """Whether something is mounted there. Path.is_mount() does not see a folder that is bound onto itself."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split()[4] == str(folder) for line in lines)
