"""What a placement decision reads: hosts, pools and the request, as plain frozen data. Built by `scheduler`."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRow:
    """One host. CPU and memory limits are of overcommitted capacity (allocatable × overcommit × limit percent)."""

    name: str
    zone: str
    pod: str
    cluster: str
    labels: Mapping[str, str] = field(default_factory=dict)
    hypervisor: str = "KVM"
    architecture: str = "x86_64"
    firmware: frozenset[str] = frozenset({"BIOS"})
    machine_types: frozenset[str] = frozenset()
    cpu_features: frozenset[str] = frozenset()
    down: str = ""
    """Why nothing can be started there now ("not reachable since 10:41"); "" for a Ready host."""
    disabled: str = ""
    """Why it takes nothing new ("Zone zone-1 is Disabled"); "" when enabled."""
    closed: str = ""
    """Why it takes nothing, pin or not ("in maintenance", "being deleted")."""
    dedicated: Mapping[str, bool] = field(default_factory=dict)
    """Namespace → whether it may come here, for each that asked; absent: it may."""
    cpus: int = 0
    memory: int = 0
    cpus_used: int = 0
    memory_used: int = 0
    max_guest_cpus: int = 0
    """0: not known, no bound."""
    pools: frozenset[str] = frozenset()
    """Names of the StoragePools connected on it."""
    networks: frozenset[str] = frozenset()
    """Names of the physical networks that its uplinks reach."""

    def topology(self, level: str) -> str:
        """Name of the domain of an (anti-)affinity term: Host, HostCluster, HostPod or Zone."""
        return {"Host": self.name, "HostCluster": self.cluster, "HostPod": self.pod, "Zone": self.zone}[level]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRow:
    """One StoragePool. `free` is what its limits leave, in bytes of volume size; never below 0."""

    name: str
    type: str = "NFS"
    tags: frozenset[str] = frozenset()
    free: int = 0
    closed: str = ""
    """Why no new volume may be made there ("is Disabled", "is not Ready: …")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeWant:
    """A volume that has no pool yet."""

    entry: str
    size: int
    tags: frozenset[str] = frozenset()
    pool: str = ""
    """Asked for by name; "": any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A required (anti-)affinity term, already matched: the topology domains its members are in."""

    topology: str
    domains: frozenset[str]
    anti: bool
    text: str
    """How a person reads it: `antiAffinity[0] Host app=web`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One instance to place. Memory includes the hypervisor's overhead."""

    uid: str
    namespace: str
    zone: str
    cpus: int
    memory: int
    architecture: str = ""
    hypervisor: str = ""
    """"" when any will do."""
    firmware: str = "BIOS"
    machine_type: str = ""
    """Of an instance that has run before; "" for a first start."""
    cpu_features: frozenset[str] = frozenset()
    pinned: str = ""
    ignore_disabled: bool = False
    selector: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[VolumeWant, ...] = ()
    bound: Mapping[str, str] = field(default_factory=dict)
    """Volume entry → pool, for volumes that lie somewhere already."""
    networks: Mapping[str, str] = field(default_factory=dict)
    """NIC entry → physical network."""
    terms: tuple[Term, ...] = ()
    avoid: frozenset[str] = frozenset()
    """Hosts where it just failed to start."""
    prefer: str = ""
    """The host it ran on last; tried first."""
