"""How an end-point is reached. Part of the seam of `drivers.base`, which is where to import it from."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TLSMaterial:
    """PEM texts. Never printed: `repr` hides them."""

    ca: str = field(repr=False)
    certificate: str = field(repr=False)
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SSHMaterial:
    private_key: str = field(repr=False)
    known_hosts: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LibvirtConnection:
    """`qemu+tls` needs tls, `qemu+ssh` needs ssh, `qemu+tcp` is refused unless allow_plaintext."""

    host: str
    """Name of the Host object: for messages and for listings."""
    uri: str
    tls: TLSMaterial | None = None
    ssh: SSHMaterial | None = None
    allow_plaintext: bool = False
    installations: tuple[str, ...] = ()
    """Ours first, then those taken over: tells foreign domains of HostFacts; (): every marked one counts as ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedConnection:
    host: str
    cpus: int
    memory: int
    state: str
    """Path of the simulator's state (a SQLite file), shared by all simulated hosts of the operator."""
    installations: tuple[str, ...] = ()
    """As of LibvirtConnection."""


Connection = LibvirtConnection | SimulatedConnection
