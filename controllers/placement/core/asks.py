"""What is asked for, and what was given: the words of the engine, as plain frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeWant:
    """A volume that has no pool yet."""

    entry: str
    size: int
    tags: frozenset[str] = frozenset()
    pool: str = ""
    """Asked for by name; "": any."""
    provisioning: str = ""
    """Thin or Thick; "": any."""
    format: str = ""
    """Of the image that it is made from; "": any."""
    template: str = ""
    """Identity of the image it is made from; a pool that has a copy is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """All that decides which hosts do, but for the identity of who asks: requests of one shape share one evaluation.

    Memory includes the hypervisor's overhead. Volumes and pools are in bytes.
    """

    namespace: str
    """"" to ask for anybody's: what is dedicated to some is room too."""
    zone: str
    cpus: int
    memory: int
    architecture: str = ""
    hypervisor: str = ""
    """Of an instance that has its hardware already; "" when any will do."""
    firmware: str = "BIOS"
    machine_type: str = ""
    """Of an instance that has run before; "" for a first start."""
    ignore_disabled: bool = False
    selector: Labels = frozenset()
    volumes: tuple[VolumeWant, ...] = ()
    bound: tuple[tuple[str, str], ...] = ()
    """(Volume entry, pool), for volumes that lie somewhere already."""
    networks: tuple[tuple[str, str, int], ...] = ()
    """(NIC entry, physical network, VLAN; 0: untagged)."""


@dataclass(frozen=True, slots=True)
class TermKey:
    """Who is meant and how near: members are the instances of the namespace that have all these labels."""

    namespace: str
    selector: Labels
    topology: str
    """Host, HostCluster, HostPod or Zone."""

    def __str__(self) -> str:
        told = ",".join(f"{key}={value}" for key, value in sorted(self.selector))
        return f"{self.topology} {told}" if told else f"{self.topology} (all)"


@dataclass(frozen=True, slots=True)
class TermWant:
    """An affinity (`anti` False) or anti-affinity term of one instance."""

    key: TermKey
    anti: bool
    weight: int = 0
    """0: required; else 1…100, preferred."""


@dataclass(frozen=True, slots=True)
class HostWish:
    """Hosts with all these labels are better for one instance."""

    selector: Labels
    weight: int
    """1…100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One instance to place."""

    uid: str
    shape: Shape
    name: str = ""
    labels: Labels = frozenset()
    terms: tuple[TermWant, ...] = ()
    wishes: tuple[HostWish, ...] = ()
    pinned: str = ""
    avoid: frozenset[str] = frozenset()
    """Hosts where it just failed to start."""
    prefer: str = ""
    """The host it ran on last."""

    @property
    def carried(self) -> tuple[TermKey, ...]:
        """What it keeps away from itself wherever it is: its required anti-affinity."""
        return tuple(term.key for term in self.terms if term.anti and not term.weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one instance holds, decided or seen. A stopped one holds its place against anti-affinity alone (W7)."""

    namespace: str
    name: str = ""
    labels: Labels = frozenset()
    hosts: tuple[str, ...] = ()
    """One; two while it moves."""
    cpus: int = 0
    memory: int = 0
    starting: bool = False
    carried: tuple[TermKey, ...] = ()
    volumes: Mapping[str, int] = field(default_factory=dict)
    """Pool → bytes that the pool's own figures do not show yet."""

    @property
    def counts(self) -> bool:
        return self.cpus > 0 or self.memory > 0
