"""A libvirt host of the lab: a machine with libvirtd over TLS, sshd, and eth1 enslaved to the guest bridge.

Called by `lab.py`; tests and the command line use its methods to hurt it. Its identity (host UUID, machine id) derives
from the lab and its name, so that it survives death and revival.
"""

import contextlib
import shutil
import socket
import uuid
from pathlib import Path

from lab.errors import LabError
from lab.machines import pki
from lab.machines.machine import Machine
from lab.machines.plan import Plan

TLS_PORT = 16514
TCP_PORT = 16509
GUEST_BRIDGE = "br-guest"
_IDENTITY = uuid.UUID("6e1c4a4e-7f0d-5c1b-9c39-0d4f2b8f2a11")
# Of this machine's own libvirt nothing may be seen inside: neither definitions nor keys nor images.
_HIDDEN = ["/etc/libvirt/qemu", "/etc/libvirt/storage", "/etc/libvirt/secrets", "/var/lib/libvirt", "/etc/pki"]

_QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
dynamic_ownership = 0
remember_owner = 0
stdio_handler = "file"
default_tls_x509_cert_dir = "/etc/pki/qemu"
default_tls_x509_verify = 1
migrate_tls_x509_verify = 1
migration_host = "{address}"
"""

_LIBVIRTD_CONF = """\
listen_tls = 1
listen_tcp = {tcp}
listen_addr = "{address}"
auth_tcp = "none"
auth_unix_ro = "none"
auth_unix_rw = "none"
host_uuid = "{uuid}"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""

_SSHD_CONF = """\
ListenAddress {address}
HostKey /etc/lab/ssh_host_key
AuthorizedKeysFile /etc/lab/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
StrictModes no
"""

_START_LIBVIRTD = """\
#!/bin/bash
# Start libvirtd unless it runs. Also called from outside after its death.
mkdir -p /var/log/libvirt/qemu /run/libvirt
pid=$(cat /run/libvirtd.pid 2>/dev/null) && grep -qs '^State:.[^ZX]' "/proc/$pid/status" && exit 0
setsid libvirtd --listen --pid-file /run/libvirtd.pid </dev/null >>/var/log/libvirt/console.log 2>&1 &
"""

_BOOT = """\
/etc/lab/start-libvirtd
mkdir -p /run/sshd
/usr/sbin/sshd -f /etc/lab/sshd_config -E /var/log/sshd.log
"""


class Host(Machine):
    """A libvirt host. All methods may be called in any state; those that need it running raise LabError."""

    guest_wire = True

    def __init__(self, plan: Plan, name: str, number: int, plaintext: bool = False, mount_nfs: Path | None = None):
        super().__init__(plan, name, number)
        self.plaintext = plaintext
        self._mount_nfs = mount_nfs
        self.uuid = str(uuid.uuid5(_IDENTITY, f"{plan.name}/{name}"))

    @property
    def uri(self) -> str:
        """Where libvirt answers over TLS; a client on this machine adds `?pkipath=` and the lab's `pki_dir`."""
        return f"qemu+tls://{self.address}/system"

    @property
    def plaintext_uri(self) -> str:
        """Where libvirt answers without TLS, on a host that was made with `plaintext`."""
        return f"qemu+tcp://{self.address}/system"

    @property
    def ssh_uri(self) -> str:
        """Where libvirt answers through sshd; the keys are in the lab's `pki_dir`, folder `ssh`."""
        return f"qemu+ssh://root@{self.address}/system"

    def install_mount_nfs(self, program: Path) -> None:
        """Say which program is `mount.nfs` inside; taken at the host's first start."""
        self._mount_nfs = program

    def wire(self) -> list[str]:
        """The guest bridge over the guest cable; forward_delay 0, or a guest's first seconds are lost."""
        return [
            f"link add {GUEST_BRIDGE} type bridge forward_delay 0 stp_state 0",
            f"link set eth1 master {GUEST_BRIDGE}",
            "link set eth1 up",
            f"link set {GUEST_BRIDGE} up",
        ]

    def prepare(self) -> None:
        """Identity, configuration, certificates and keys."""
        for folder in _HIDDEN:
            self.hide(folder)
        self.write("/etc/machine-id", self.uuid.replace("-", "") + "\n")
        self.write("/etc/libvirt/qemu.conf", _QEMU_CONF.format(address=self.address))
        self.write(
            "/etc/libvirt/libvirtd.conf",
            _LIBVIRTD_CONF.format(address=self.address, uuid=self.uuid, tcp=int(self.plaintext)),
        )
        self.write("/etc/lab/start-libvirtd", _START_LIBVIRTD, 0o755)
        self.write("/etc/shadow", "root:*:19000:0:99999:7:::\n", 0o600)
        self._prepare_tls()
        self._prepare_ssh()
        if self._mount_nfs is not None:
            target = self.state / "upper/usr/sbin/mount.nfs"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self._mount_nfs, target)

    def _prepare_tls(self) -> None:
        authority = pki.Authority(self.plan.state_dir / "authority", f"lab {self.plan.name}")
        pair = authority.issue(self.name, self.address, server=True)
        self.write("/etc/pki/CA/cacert.pem", authority.certificate)
        self.write("/etc/pki/qemu/ca-cert.pem", authority.certificate)
        for role in ("server", "client"):
            self.write(f"/etc/pki/libvirt/{role}cert.pem", pair.certificate)
            self.write(f"/etc/pki/libvirt/private/{role}key.pem", pair.key, 0o600)
            self.write(f"/etc/pki/qemu/{role}-cert.pem", pair.certificate)
            self.write(f"/etc/pki/qemu/{role}-key.pem", pair.key, 0o600)

    def _prepare_ssh(self) -> None:
        folder = self.plan.state_dir
        self.write("/etc/lab/sshd_config", _SSHD_CONF.format(address=self.address))
        self.write("/etc/lab/ssh_host_key", pki.ssh_pair(folder / "authority" / f"ssh-{self.name}").private, 0o600)
        self.write("/etc/lab/authorized_keys", pki.ssh_pair(folder / "pki/ssh/id_ed25519").public + "\n")

    def boot(self) -> str:
        """libvirtd and sshd."""
        return _BOOT

    def ready(self) -> bool:
        """Whether libvirtd takes connections."""
        return answers(self.address, TLS_PORT)

    def revive(self, seconds: float = 30) -> None:
        """Power on again with the same disk, or start only libvirtd where that is what died. Idempotent."""
        if self.alive():
            self.start_libvirtd(seconds)
        else:
            super().revive(seconds)

    # -- libvirtd -----------------------------------------------------------------------------------------------------

    def freeze_libvirtd(self) -> None:
        """SIGSTOP: connections stand still, guests run. Idempotent."""
        self._signal_libvirtd("STOP")

    def thaw_libvirtd(self) -> None:
        """SIGCONT after a freeze. Idempotent."""
        self._signal_libvirtd("CONT")

    def kill_libvirtd(self) -> None:
        """SIGKILL: guests run on. Idempotent."""
        if self.libvirtd_state() is not None:
            self._signal_libvirtd("KILL")
            # Its first thread may be gone while others still hold its socket.
            self._await(lambda: self.libvirtd_state() is None and not self.ready(), "the end of libvirtd", 10)

    def start_libvirtd(self, seconds: float = 30) -> None:
        """Start libvirtd unless it runs, and wait until it answers (`seconds` at most). Idempotent."""
        self.exec(["/etc/lab/start-libvirtd"])
        self.await_ready(seconds)

    def libvirtd_state(self) -> str | None:
        """The kernel's letter for libvirtd's state (T is frozen), None when it does not run. Does not block."""
        pid = self.pid()
        if pid is None:
            return None
        root = Path(f"/proc/{pid}/root")
        try:
            number = int((root / "run/libvirtd.pid").read_text())
            letter = (root / f"proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError):
            return None
        return None if letter in "ZX" else letter

    def _signal_libvirtd(self, name: str) -> None:
        if self.libvirtd_state() is None:
            raise LabError(f"{self.name}: libvirtd does not run there; start it first")
        self.exec(["bash", "-c", f"kill -{name} $(cat /run/libvirtd.pid)"])


def answers(address: str, port: int, seconds: float = 0.5) -> bool:
    """Whether something takes a TCP connection there within `seconds`."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=seconds):
        return True
    return False
