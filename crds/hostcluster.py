"""HostCluster: hosts of one hypervisor and CPU architecture that share storage, and the rules they share.

`Cluster` belongs to Cluster API. The uplinks here are used by Host too.
"""

from typing import Annotated, ClassVar, Literal

from crds.base import (
    ALL_NAMESPACES,
    ALLOCATION_STATE,
    DEDICATED_TO,
    NO_NAMESPACES,
    AllocationState,
    Architecture,
    Hypervisor,
    Model,
    NameRef,
    NamespaceSet,
    SecretRef,
    StatusModel,
    Time,
)
from crds.capacity import Capacity, Children, Room, Summary
from crds.fields import (
    Identifier,
    Label,
    Rule,
    Server,
    Word,
    about,
    between,
    immutable,
    live,
    map_list,
    set_list,
    text,
)

InterfaceName = Annotated[str, text(15, least=1, pattern=r"^[A-Za-z0-9][-A-Za-z0-9_.]*$")]
BridgePattern = Annotated[str, text(20, least=7, pattern=r"^[A-Za-z0-9][-A-Za-z0-9_.]*\{vlan\}[-A-Za-z0-9_.]*$")]
CPUFeature = Annotated[str, text(64, least=1)]


class BridgeUplink(Model):
    """A Linux bridge, untagged only: libvirt 9.0 refuses a VLAN on it."""

    name: Annotated[InterfaceName, live("Interface name of the Linux bridge on every host.")]


class BridgePerVLANUplink(Model):
    """A Linux bridge for each VLAN."""

    pattern: Annotated[
        BridgePattern, live('Name of the bridge of one VLAN, with "{vlan}" where the tag stands: "br-lan-{vlan}".')
    ]


class OpenVSwitchUplink(Model):
    """A bridge of Open vSwitch."""

    bridge: Annotated[InterfaceName, live("Name of the Open vSwitch bridge on every host.")]


class VSphereSwitchUplink(Model):
    """A distributed or standard switch."""

    name: Annotated[Identifier, live("Name of the switch in vCenter.")]


class XenNetworkUplink(Model):
    """A network of the Xen pool."""

    device: Annotated[InterfaceName, live("Physical interface of the pool, such as eth1.")]


UplinkType = Literal["Bridge", "BridgePerVLAN", "OpenVSwitch", "VSphereSwitch", "XenNetwork", "Simulated"]


class Uplink(Model):
    """How one physical network of the zone is reached."""

    UNION: ClassVar[dict[str, str]] = {
        "Bridge": "bridge",
        "BridgePerVLAN": "bridge_per_vlan",
        "OpenVSwitch": "open_vswitch",
        "VSphereSwitch": "vsphere_switch",
        "XenNetwork": "xen_network",
        "Simulated": "",
    }

    name: Annotated[Label, about("The physical network's name in the Zone.")]
    type: Annotated[UplinkType, immutable("How guests are put on it; exactly the member of that name goes with it.")]
    bridge: Annotated[BridgeUplink | None, live("A Linux bridge, untagged networks only. With type Bridge.")] = None
    bridge_per_vlan: Annotated[
        BridgePerVLANUplink | None, live("A Linux bridge for each VLAN. With type BridgePerVLAN.")
    ] = None
    open_vswitch: Annotated[OpenVSwitchUplink | None, live("An Open vSwitch bridge. With type OpenVSwitch.")] = None
    vsphere_switch: Annotated[VSphereSwitchUplink | None, live("A switch of vCenter. With type VSphereSwitch.")] = None
    xen_network: Annotated[XenNetworkUplink | None, live("A network of the Xen pool. With type XenNetwork.")] = None


class VSphereClusterConnection(Model):
    """A cluster of a vCenter."""

    server: Annotated[Server, live("Host name or address of the vCenter.")]
    datacenter: Annotated[Identifier, live("Name of the data centre in the vCenter's inventory.")]
    cluster: Annotated[Identifier, live("Name of the cluster in that data centre.")]
    credentials_secret_ref: Annotated[SecretRef, live("Secret with the keys username, password and ca.crt.")]


class XenClusterConnection(Model):
    """A pool of XenServer or XCP-ng."""

    servers: Annotated[
        tuple[Server, ...], set_list(most=64, least=1), live("Pool members, any of which may be master.")
    ]
    credentials_secret_ref: Annotated[SecretRef, live("Secret with the keys username, password and ca.crt.")]


class ClusterConnection(Model):
    """The end-point of hypervisors that are managed as one."""

    UNION: ClassVar[dict[str, str]] = {"VSphere": "vsphere", "Xen": "xen"}

    type: Annotated[Literal["VSphere", "Xen"], immutable("The same as `hypervisor`.")]
    vsphere: Annotated[VSphereClusterConnection | None, live("The vCenter. With type VSphere.")] = None
    xen: Annotated[XenClusterConnection | None, live("The pool. With type Xen.")] = None


class Overcommit(Model):
    """How much is given out of what is there."""

    cpu_percent: Annotated[
        int, between(10, 6400), live("CPUs that may be given out, in percent of those that are there.")
    ] = 100
    memory_percent: Annotated[
        int, between(10, 1000), live("Memory that may be given out, in percent of what is there.")
    ] = 100


class ClusterLimits(Model):
    """Where placement stops."""

    cpu_percent: Annotated[
        int, between(1, 100), live("Percent of overcommitted CPUs beyond which nothing new is placed on a host.")
    ] = 85
    memory_percent: Annotated[
        int, between(1, 100), live("Percent of overcommitted memory beyond which nothing new is placed on a host.")
    ] = 85
    instances: Annotated[
        int | None, between(1, 10_000), live("Most instances that take room on one host. Unset: no bound.")
    ] = None


class ClusterCPU(Model):
    """Which CPU guests see."""

    UNION_FIELD: ClassVar[str] = "mode"
    UNION: ClassVar[dict[str, str]] = {"Baseline": "", "HostPassthrough": "", "Named": "model"}

    mode: Annotated[
        Literal["Baseline", "HostPassthrough", "Named"],
        live(
            "Baseline: what every host can do, computed once and kept in status.cpu, so that guests may move. "
            "HostPassthrough: the host's own, guests move between equal hosts only. Named: `model`. "
            "Running guests see a change at their next cold start."
        ),
    ] = "Baseline"
    model: Annotated[
        Identifier | None, live("A CPU model's name as libvirt knows it, such as Skylake-Server. With mode Named only.")
    ] = None


class ClusterPlacement(Model):
    """How hosts are chosen."""

    policy: Annotated[
        Literal["Balanced", "Packed", "Spread"],
        live("Balanced: keeps CPU and memory in proportion; Packed: fills hosts; Spread: the emptiest host first."),
    ] = "Balanced"


class HostClusterSpec(Model):
    """What a cluster is told."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(self.hypervisor in ['VSphere', 'Xen']) == has(self.connection)",
            "must be set for hypervisor VSphere and Xen, whose end-point belongs to the cluster, and for no other",
            field="connection",
        ),
        Rule(
            "!has(self.connection) || self.connection.type == self.hypervisor",
            "connection.type must be the same as hypervisor",
            field="connection",
        ),
    )

    host_pod_ref: Annotated[NameRef, immutable("The HostPod these hosts stand in.")]
    hypervisor: Annotated[Hypervisor, immutable("What runs the guests; hosts of another kind are not Ready here.")]
    architecture: Annotated[
        Architecture, immutable("CPU architecture of the hosts; hosts of another are not Ready here.")
    ] = "x86_64"
    allocation_state: Annotated[AllocationState, live(ALLOCATION_STATE)] = "Enabled"
    dedicated_to: Annotated[NamespaceSet, live(DEDICATED_TO)] = ALL_NAMESPACES
    connection: Annotated[
        ClusterConnection | None,
        live("The end-point, where hypervisors are managed as one: VSphere and Xen only, else unset."),
    ] = None
    uplinks: Annotated[
        tuple[Uplink, ...],
        map_list("name", most=32),
        live(
            "How each physical network of the zone is reached by these hosts; a Host's entry of the same name wins. "
            "A network without an entry is not reachable here, and placement avoids the hosts."
        ),
    ] = ()
    overcommit: Annotated[Overcommit, live("How much is given out of what is there.")] = Overcommit()
    limits: Annotated[ClusterLimits, live("How full hosts may get before nothing new is placed.")] = ClusterLimits()
    cpu: Annotated[ClusterCPU, live("Which CPU guests see.")] = ClusterCPU()
    placement: Annotated[ClusterPlacement, live("How hosts are chosen for new instances.")] = ClusterPlacement()
    allow_imports: Annotated[
        NamespaceSet, live("Namespaces that may take an existing machine that bears no mark, by its UUID.")
    ] = NO_NAMESPACES


class BaselineCPU(Model):
    """The CPU that guests of the cluster see."""

    mode: Annotated[Word, about("The mode it was computed for.")]
    model: Annotated[Identifier | None, about("CPU model. Unset: the host's own.")] = None
    vendor: Annotated[Word | None, about("CPU vendor. Unset: any.")] = None
    features: Annotated[
        tuple[CPUFeature, ...], set_list(most=512), about("Features beyond those of the model that every host has.")
    ] = ()
    disabled_features: Annotated[
        tuple[CPUFeature, ...], set_list(most=512), about("Features of the model that some host lacks.")
    ] = ()
    computed_at: Annotated[Time, about("When it was computed; anew by annotation stratiform.dev/recompute-cpu.")]
    recompute_request: Annotated[
        Identifier | None, about("Value of stratiform.dev/recompute-cpu last honoured. Unset: never asked.")
    ] = None


class HostClusterStatus(StatusModel):
    """What is known of a cluster."""

    cpu: Annotated[BaselineCPU | None, about("The CPU that guests see. Unset: no host was connected yet.")] = None
    hosts: Annotated[Children | None, about("Hosts of the cluster. Unset: not counted yet.")] = None
    instances: Annotated[int | None, about("Instances placed on its hosts. Unset: not counted yet.")] = None
    capacity: Annotated[Capacity | None, about("Sum over its hosts, overcommitted. Unset: not known yet.")] = None
    summary: Annotated[Summary | None, about("Capacity as the columns show it. Unset: not known yet.")] = None
    room: Annotated[
        tuple[Room, ...],
        map_list("type", most=32),
        about(
            "How many more of each InstanceType fit, for the first 32 by name. Dedicated hosts count: it is room of "
            "those whom they are dedicated to. Unset: none, or not counted yet."
        ),
    ] = ()
    room_left_out: Annotated[
        int | None, between(1, 2**31), about("InstanceTypes beyond those 32, of which room says nothing. Unset: none.")
    ] = None
