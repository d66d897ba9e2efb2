"""Host: a physical server that runs guests; a member of a vCenter's cluster or of a Xen pool."""

from typing import Annotated, ClassVar, Literal

from crds.base import (
    ALL_NAMESPACES,
    ALLOCATION_STATE,
    DEDICATED_TO,
    AllocationState,
    AskedQuantity,
    Model,
    NameRef,
    NamespaceSet,
    Orphan,
    Quantity,
    SecretRef,
    StatusModel,
    Time,
    at_least,
)
from crds.capacity import Capacity, Summary
from crds.fields import (
    Identifier,
    Rule,
    Server,
    Uuid,
    Word,
    about,
    atomic_list,
    between,
    immutable,
    live,
    map_list,
    set_list,
    text,
    when_empty,
)
from crds.hostcluster import CPUFeature, Uplink

LibvirtUri = Annotated[
    str,
    text(
        512,
        pattern=r"^qemu\+(tls|ssh|tcp)://[A-Za-z0-9@.:\[\]_-]+/system(\?[A-Za-z0-9_=&.-]*)?$",
        says="must be qemu+tls://HOST/system, qemu+ssh://USER@HOST/system or qemu+tcp://HOST/system",
    ),
]


class LibvirtConnection(Model):
    """A libvirtd that listens on the network."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!self.uri.startsWith('qemu+') || self.uri.startsWith('qemu+tls://') == has(self.tlsSecretRef)",
            "must be set for a qemu+tls:// uri, and for no other",
            field="tlsSecretRef",
        ),
        Rule(
            "!self.uri.startsWith('qemu+') || self.uri.startsWith('qemu+ssh://') == has(self.sshSecretRef)",
            "must be set for a qemu+ssh:// uri, and for no other",
            field="sshSecretRef",
        ),
        Rule(
            "!self.uri.startsWith('qemu+tcp://') || self.allowPlaintext",
            "qemu+tcp:// is neither encrypted nor authenticated: use qemu+tls://, or set allowPlaintext: true",
            field="uri",
        ),
    )

    uri: Annotated[
        LibvirtUri,
        live("Where libvirtd listens: qemu+tls://HOST/system, qemu+ssh://USER@HOST/system, or qemu+tcp://HOST/system."),
    ]
    tls_secret_ref: Annotated[
        SecretRef | None,
        live("Secret of type kubernetes.io/tls with the client's certificate and ca.crt. With qemu+tls only."),
    ] = None
    ssh_secret_ref: Annotated[
        SecretRef | None,
        live("Secret of type kubernetes.io/ssh-auth with the client's key and known_hosts. With qemu+ssh only."),
    ] = None
    allow_plaintext: Annotated[
        bool, live("Allows qemu+tcp, over which anybody on the wire reads and commands the host.")
    ] = False


class VSphereHostConnection(Model):
    """A host of the cluster's vCenter."""

    host: Annotated[Server, live("The host's name in the vCenter's inventory.")]


class XenHostConnection(Model):
    """A member of the cluster's Xen pool."""

    host_uuid: Annotated[Uuid, live("UUID of the pool member.")]


class SimulatedHostConnection(Model):
    """A host that exists only in the operator's simulation."""

    cpus: Annotated[int, between(1, 4096), live("CPUs that the simulated host has.")]
    memory: Annotated[AskedQuantity, at_least("64Mi"), live("Memory that the simulated host has.")]


class HostConnection(Model):
    """How the host is reached."""

    UNION: ClassVar[dict[str, str]] = {
        "Libvirt": "libvirt",
        "VSphere": "vsphere",
        "Xen": "xen",
        "Simulated": "simulated",
    }

    type: Annotated[
        Literal["Libvirt", "VSphere", "Xen", "Simulated"],
        immutable("Which interface the host has; exactly the member of that name goes with it."),
    ]
    libvirt: Annotated[LibvirtConnection | None, live("A libvirtd. With type Libvirt.")] = None
    vsphere: Annotated[VSphereHostConnection | None, live("A host of the cluster's vCenter. With type VSphere.")] = None
    xen: Annotated[XenHostConnection | None, live("A member of the cluster's Xen pool. With type Xen.")] = None
    simulated: Annotated[SimulatedHostConnection | None, live("A simulated host. With type Simulated.")] = None


class OutOfService(Model):
    """A statement about one moment."""

    declared_at: Annotated[
        Time,
        live(
            "The moment at which the host was powered off and its disks released. Void, and a condition says so, if "
            "it is not later than the last contact, or once anything on the host answers again."
        ),
    ]


class Reserved(Model):
    """What the host keeps for itself."""

    cpus: Annotated[int, between(0, 4096), live("CPUs not given to guests.", schema_default=False)] = 0
    memory: Annotated[AskedQuantity, live("Memory not given to guests.", schema_default=False)] = 2**30


class HostSpec(Model):
    """What a host is told."""

    host_cluster_ref: Annotated[NameRef, when_empty("The HostCluster this host belongs to.")]
    connection: Annotated[HostConnection, live("How the host is reached.")]
    allocation_state: Annotated[AllocationState, live(ALLOCATION_STATE)] = "Enabled"
    dedicated_to: Annotated[NamespaceSet, live(DEDICATED_TO)] = ALL_NAMESPACES
    maintenance: Annotated[bool, live("true: drained of its guests, then held empty.")] = False
    out_of_service: Annotated[
        OutOfService | None,
        live(
            "The administrator's word that the host was off at that moment: what was placed there before it may be "
            "started elsewhere, and volumes local to it are Lost. Unset: no such word."
        ),
    ] = None
    reserved: Annotated[Reserved | None, live("What is kept for the host itself. Unset: no CPU and 1Gi of memory.")] = (
        None
    )
    uplinks: Annotated[
        tuple[Uplink, ...],
        map_list("name", most=32),
        live("How this host reaches physical networks, where it differs from its cluster. Unset: as the cluster says."),
    ] = ()


class HostCPU(Model):
    """The host's processor."""

    model: Annotated[Identifier, about("CPU model that the hypervisor names.")]
    vendor: Annotated[Word | None, about("CPU vendor. Unset: not told.")] = None
    architecture: Annotated[Word, about("CPU architecture.")]
    sockets: Annotated[int | None, between(0, 1024), about("Sockets. Unset: not told.")] = None
    cores: Annotated[int | None, between(0, 4096), about("Cores of a socket. Unset: not told.")] = None
    threads: Annotated[int | None, between(0, 64), about("Threads of a core. Unset: not told.")] = None
    features: Annotated[tuple[CPUFeature, ...], set_list(most=512), about("Features beyond those of the model.")] = ()
    models: Annotated[
        tuple[Identifier, ...], set_list(most=256), about("CPU models that it can give a guest. Unset: not told.")
    ] = ()
    most_guest_cpus: Annotated[
        int | None, between(1, 2**31), about("CPUs that it can give one guest at most. Unset: not told.")
    ] = None


class Foreign(Model):
    """Machines on the host that are not ours: counted as used, never touched."""

    instances: Annotated[int, between(0, 2**31), about("Machines without a mark of this installation.")]
    running: Annotated[int, between(0, 2**31), about("Those of them that run.")] = 0
    cpus: Annotated[int, between(0, 2**31), about("CPUs of those that run.")] = 0
    memory: Annotated[Quantity, about("Memory of those that run.")] = 0
    names: Annotated[tuple[Identifier, ...], atomic_list(most=16), about("Names of some of them, in order.")] = ()


class HostStatus(StatusModel):
    """What is known of a host."""

    machine_id: Annotated[
        Uuid | None,
        about(
            "UUID of the physical machine, pinned at first contact: another machine at its address is refused until "
            "the host is annotated stratiform.dev/accept-machine. Unset: never reached."
        ),
    ] = None
    host_name: Annotated[Identifier | None, about("What the machine calls itself. Unset: never reached.")] = None
    hypervisor: Annotated[Word | None, about("The hypervisor found there. Unset: never reached.")] = None
    hypervisor_version: Annotated[Word | None, about("Its version. Unset: never reached.")] = None
    library_version: Annotated[
        Word | None, about("Version of the service that manages it, such as libvirt's. Unset: never reached.")
    ] = None
    cpu: Annotated[HostCPU | None, about("Its processor. Unset: never reached.")] = None
    machines: Annotated[
        tuple[Word, ...], set_list(most=64), about("Machine types (chipsets) that it can run, as guests keep them.")
    ] = ()
    firmwares: Annotated[tuple[Word, ...], set_list(most=8), about("Firmware that it can give a guest.")] = ()
    capacity: Annotated[
        Capacity | None, about("CPUs and memory of the host, with what is not ours as used. Unset: never reached.")
    ] = None
    summary: Annotated[Summary | None, about("Capacity as the columns show it. Unset: never reached.")] = None
    instances: Annotated[int | None, between(0, 2**31), about("Instances placed here. Unset: not counted yet.")] = None
    running: Annotated[int | None, between(0, 2**31), about("Those of them seen running. Unset: not counted yet.")] = (
        None
    )
    foreign: Annotated[Foreign | None, about("Machines that are not ours. Unset: none.")] = None
    last_contact: Annotated[
        Time | None,
        about(
            "When it last answered, of a host that is lost; of one that answers, when it came (the Lease host-<name> "
            "beside the operator tells to the minute). Unset: never."
        ),
    ] = None
    unreachable_since: Annotated[Time | None, about("Since when it has not answered. Unset: it answers.")] = None
    orphans: Annotated[
        tuple[Orphan, ...],
        map_list("uuid", most=32),
        about(
            "Machines with our mark that the API does not know, the first of them by name; never destroyed by "
            "themselves."
        ),
    ] = ()
    orphan_count: Annotated[int, between(0, 2**31), about("How many such machines there are.")] = 0
    orphan_cpus: Annotated[int, between(0, 2**31), about("CPUs of those of them that run: they are not free.")] = 0
    orphan_memory: Annotated[Quantity, about("Memory of those of them that run: it is not free.")] = 0
