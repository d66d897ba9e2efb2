"""The servers of a lab: NFS (ganesha), templates over HTTP, DHCP on the guest wire.

Called by `lab.py`. Each is a machine of its own, so that its death is the death of a machine.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from lab.machines.host import answers
from lab.machines.machine import Bind, Machine
from lab.machines.plan import Plan

NFS_PORT = 2049
HTTP_PORT = 80
EXPORTS = ("primary", "secondary")

_GANESHA = """\
NFS_CORE_PARAM {{
    Bind_addr = {address};
    Protocols = 3, 4;
    Enable_NLM = false;
    Enable_RQUOTA = false;
    Dbus_Name_Prefix = lab;
}}
NFSv4 {{ Graceless = true; Lease_Lifetime = 10; Grace_Period = 10; RecoveryBackend = fs; }}
NFS_KRB5 {{ Active_krb5 = false; }}
LOG {{ Default_Log_Level = EVENT; }}
"""

_EXPORT = """\
EXPORT {{
    Export_Id = {number};
    Path = /{name};
    Pseudo = /{name};
    Access_Type = RW;
    Squash = No_Root_Squash;
    SecType = sys;
    Protocols = 3, 4;
    Transports = TCP;
    FSAL {{ Name = VFS; }}
}}
"""

_NFS_BOOT = """\
mkdir -p /run/rpcbind /run/ganesha /var/lib/nfs/ganesha /var/log/ganesha
rpcbind -w
setsid ganesha.nfsd -F -L /var/log/ganesha/ganesha.log -f /etc/ganesha/ganesha.conf \\
    -p /run/ganesha/ganesha.pid </dev/null >>/var/log/ganesha/console.log 2>&1 &
"""


class NfsServer(Machine):
    """Serves /primary and /secondary by NFSv3 and v4. Its files lie in the state directory, folder `nfs`."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan, "nfs", 2)

    def binds(self) -> Sequence[Bind]:
        """Its logs and its exports: ganesha needs file handles, which an overlay does not give."""
        data = self.plan.state_dir / "nfs"
        return [*super().binds(), *(Bind(data / name, f"/{name}") for name in EXPORTS)]

    def prepare(self) -> None:
        """ganesha's configuration."""
        exports = "".join(_EXPORT.format(number=10 + n, name=name) for n, name in enumerate(EXPORTS))
        self.write("/etc/ganesha/ganesha.conf", _GANESHA.format(address=self.address) + exports)
        self.hide("/var/lib/nfs")

    def boot(self) -> str:
        """rpcbind and ganesha."""
        return _NFS_BOOT

    def ready(self) -> bool:
        """Whether NFS takes connections."""
        return answers(self.address, NFS_PORT)


class WebServer(Machine):
    """Serves the guest template, and answers that misbehave on purpose: see `webserver.py`."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan, "web", 4)

    @property
    def folder(self) -> Path:
        """What it serves, on this machine's disk; files may be added while it runs."""
        return self.plan.state_dir / "web"

    @property
    def url(self) -> str:
        """Its root, with a slash at the end."""
        return f"http://{self.address}/"

    def binds(self) -> Sequence[Bind]:
        """Its logs, what it serves, and Python where that is mounted apart, since overlays do not cross mounts."""
        python = [Path(prefix) for prefix in (sys.base_prefix, sys.prefix)]
        apart = [path for path in python if path.stat().st_dev != Path("/").stat().st_dev]
        return [*super().binds(), Bind(self.folder, "/srv/www"), *(Bind(path, str(path)) for path in apart)]

    def prepare(self) -> None:
        """The program it runs."""
        self.write("/etc/lab/webserver.py", Path(__file__).with_name("webserver.py").read_text())

    def boot(self) -> str:
        """The server of `webserver.py`."""
        # The interpreter itself: .venv may lie in /tmp, of which every machine has its own.
        python = Path(sys.executable).resolve()
        start = f"setsid {python} -I -B /etc/lab/webserver.py {self.address} {HTTP_PORT} /srv/www"
        return f"{start} </dev/null >>/var/log/web.log 2>&1 &\n"

    def ready(self) -> bool:
        """Whether it takes connections."""
        return answers(self.address, HTTP_PORT)


class DhcpServer(Machine):
    """Gives addresses on the guest wire (.20 to .40) to guests of networks without address management."""

    guest_wire = True

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan, "net", 3)

    def wire(self) -> list[str]:
        """Its address on the guest wire."""
        return [f"addr add {self.plan.guest_prefix}2/24 dev eth1", "link set eth1 up"]

    def boot(self) -> str:
        """dnsmasq with nothing from this machine's configuration."""
        prefix = self.plan.guest_prefix
        options = "--conf-file=/dev/null --interface=eth1 --bind-interfaces --except-interface=lo --port=0 --no-daemon"
        options += f" --dhcp-range={prefix}20,{prefix}40,1h --dhcp-option=3,{prefix}1 --dhcp-option=6,{prefix}1"
        options += " --dhcp-authoritative --dhcp-leasefile=/run/dnsmasq.leases --user=root --no-resolv --no-hosts"
        return f"setsid dnsmasq {options} </dev/null >>/var/log/dnsmasq.log 2>&1 &\n"
