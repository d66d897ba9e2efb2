"""The cloud as its people see it: kubectl, the guest's own shell, and an administrator's hands on hosts and storage."""

import re
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import guests
from lab.controlplane import ControlPlane
from lab.machines import Machines
from lab.operator import Operator
from tests.cluster import Cluster, manifest, until

BOOT = 150.0
"""Seconds that a guest's start may take while other tests of this machine have the cores."""

TEAM = "team-a"


@dataclass(frozen=True)
class Cloud:
    """Lab `test` with the examples applied; `cluster` looks into the examples' tenant."""

    plane: ControlPlane
    machines: Machines
    operator: Operator
    cluster: Cluster
    folder: Path

    # -- instances ----------------------------------------------------------------------------------------------------

    def instance(self, name: str) -> dict[str, Any]:
        """Its status."""
        found = self.cluster.get("instance", name)
        assert found is not None, f"Instance {name} is not there"
        return dict(found.get("status", {}))

    def await_instance(
        self, name: str, reason: str = "Running", *, ready: str = "True", deadline: float = BOOT
    ) -> dict[str, Any]:
        """Wait for its Ready condition; its status."""
        self.cluster.await_condition("instance", name, status=ready, reason=reason, deadline=deadline)
        return self.instance(name)

    def until_status(self, name: str, what: str, holds: Any, deadline: float = BOOT) -> dict[str, Any]:
        """Wait until `holds(status)`; the status. `what` names it in the failure."""

        def look() -> dict[str, Any] | None:
            status = self.instance(name)
            return status if holds(status) else None

        look.__doc__ = what
        return dict(until(look, deadline, why=lambda: self.cluster.story("instance", name)))

    def runs(self, name: str) -> int:
        """How often it was started."""
        return int(self.instance(name).get("runCount", 0))

    def request(self, name: str, action: str) -> None:
        """A power request of now."""
        self.cluster.patch("instance", name, {"power": {"action": action, "requestedAt": now()}})

    # -- inside guests ------------------------------------------------------------------------------------------------

    def address(self, name: str) -> str:
        return str(self.instance(name)["primaryAddress"])

    def shell(self, name: str, command: str, deadline: float = BOOT) -> str:
        """What a command says inside the guest; asked again until the guest answers."""
        url = f"http://{self.address(name)}/cgi-bin/run"

        def ask() -> tuple[str] | None:
            try:
                with urllib.request.urlopen(urllib.request.Request(url, command.encode()), timeout=20) as reply:
                    return (reply.read().decode(errors="replace").strip(),)
            except OSError:
                return None

        ask.__doc__ = f"{command!r} in guest {name}"
        said: str = until(ask, deadline, every=0.5, why=lambda: self.console(name))[0]
        return said

    def console(self, name: str, lines: int = 60) -> str:
        return guests.console_tail(self.machines.state_dir / "logs", self.instance(name)["uuid"], lines)

    # -- on hosts -----------------------------------------------------------------------------------------------------

    def virsh(self, host: str, *arguments: str, text: str | None = None) -> str:
        """The administrator's virsh on a host."""
        return self.machines.host(host).exec(["virsh", *arguments], text=text).stdout

    def domains(self, host: str, *arguments: str) -> set[str]:
        """UUIDs of the domains there; with "--state-running" and the like, of those only."""
        return set(self.virsh(host, "list", "--uuid", *(arguments or ("--all",))).split())

    def hosts_of(self, uuid: str, *arguments: str) -> list[str]:
        """Living hosts that have the domain; as `domains`."""
        return [h.name for h in self.machines.hosts if h.alive() and uuid in self.domains(h.name, *arguments)]

    def disk_files(self, uuid: str) -> list[str]:
        """Files on the primary export whose names begin with a volume's UUID: disk, mark, seed, variables."""
        return sorted(p.name for p in (self.machines.state_dir / "nfs/primary").rglob(f"{uuid}*"))

    def volume_uuid(self, name: str) -> str:
        found = self.cluster.get("volume", name)
        assert found is not None, f"Volume {name} is not there"
        return str(found["status"]["uuid"])


def now() -> str:
    """This moment as spec.power wants it; later than any moment that was asked for before."""
    time.sleep(max(0.0, 1.0 - time.time() % 1))  # Times of the API have whole seconds.
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def guest(
    name: str, *, host: str | None = None, volumes: list[dict[str, Any]] | None = None, **spec: Any
) -> dict[str, Any]:
    """An instance of the lab's small guest, with an address."""
    root = {
        "name": "root",
        "bootOrder": 1,
        "type": "Managed",
        "managed": {"templateRef": {"name": "tiny-linux", "namespace": "images"}},
    }
    body: dict[str, Any] = {
        "zoneRef": {"name": "zone-1"},
        "resources": {"cpus": 1, "memory": "96Mi"},
        "volumes": [root, *(volumes or [])],
        "networks": [{"name": "lan", "networkRef": {"name": "lan"}}],
        "cloudInit": {"hostname": name},
        "shutdown": {"gracePeriodSeconds": 30},
        **({"placement": {"hostRef": {"name": host}}} if host else {}),
    }
    return manifest("Instance", name, {**body, **spec}, TEAM)


def machine(name: str, **spec: Any) -> dict[str, Any]:
    """An instance that never boots anything, its disk is blank: for what needs no guest inside. Costs no core."""
    blank = {"name": "root", "type": "Managed", "managed": {"size": "8Mi"}}
    body: dict[str, Any] = {
        "zoneRef": {"name": "zone-1"},
        "resources": {"cpus": 1, "memory": "16Mi"},
        "volumes": [blank],
        "shutdown": {"gracePeriodSeconds": 0},
    }
    return manifest("Instance", name, {**body, **spec}, TEAM)


def blank(name: str, size: str = "32Mi", **spec: Any) -> dict[str, Any]:
    """A Volume without content."""
    return manifest("Volume", name, {"zoneRef": {"name": "zone-1"}, "size": size, **spec}, TEAM)


def columns(table: str) -> list[str]:
    """The heads of what `kubectl get` printed."""
    return re.split(r"\s{2,}", table.splitlines()[0].strip())
