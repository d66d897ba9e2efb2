"""StoragePool: primary storage, where the disks of guests lie."""

from typing import Annotated, ClassVar, Literal

from crds.base import (
    ALLOCATION_STATE,
    NFS,
    NO_NAMESPACES,
    AllocationState,
    AskedQuantity,
    Model,
    NameRef,
    NamespaceSet,
    Orphan,
    SecretRef,
    StatusModel,
    Time,
    at_least,
)
from crds.capacity import Capacity, Children, Summary
from crds.fields import (
    Identifier,
    Name,
    Path,
    Rule,
    Sentence,
    Tag,
    Uuid,
    Word,
    about,
    between,
    immutable,
    live,
    map_list,
    set_list,
    text,
)

Portal = Annotated[str, text(261, least=1, pattern=r"^[A-Za-z0-9\[]([-A-Za-z0-9.:\]]*[A-Za-z0-9\]])?$")]
IscsiName = Annotated[str, text(223, least=8, pattern=r"^(iqn\.|eui\.|naa\.)[A-Za-z0-9:._-]+$")]


class PoolScope(Model):
    """From where the pool can be reached."""

    UNION: ClassVar[dict[str, str]] = {"Zone": "zone_ref", "HostCluster": "host_cluster_ref", "Host": "host_ref"}

    type: Annotated[
        Literal["Zone", "HostCluster", "Host"], about("Zone: every host of it; HostCluster: its hosts; Host: one only.")
    ]
    zone_ref: Annotated[NameRef | None, about("The Zone. With type Zone only.")] = None
    host_cluster_ref: Annotated[NameRef | None, about("The HostCluster. With type HostCluster only.")] = None
    host_ref: Annotated[NameRef | None, about("The Host. With type Host only.")] = None


class VolumeGroup(Model):
    """An LVM volume group on the LUN."""

    name: Annotated[Identifier, live("Name of the volume group, made beforehand.")]


class ISCSI(Model):
    """An iSCSI target."""

    UNION_FIELD: ClassVar[str] = "layout"
    UNION: ClassVar[dict[str, str]] = {"LUNPerVolume": "", "VolumeGroup": "volume_group"}

    portals: Annotated[
        tuple[Portal, ...], set_list(most=16, least=1), live("Where the target listens: HOST:PORT each.")
    ]
    target: Annotated[IscsiName, live("The target's iSCSI name.")]
    auth_secret_ref: Annotated[
        SecretRef | None, live("Secret with the CHAP keys username and password. Unset: the target asks for none.")
    ] = None
    layout: Annotated[
        Literal["LUNPerVolume", "VolumeGroup"],
        immutable("LUNPerVolume: the array gives each volume a LUN; VolumeGroup: volumes are cut from an LVM group."),
    ]
    volume_group: Annotated[VolumeGroup | None, live("The LVM group. With layout VolumeGroup only.")] = None


class RBD(Model):
    """A pool of a Ceph cluster."""

    monitors: Annotated[tuple[Portal, ...], set_list(most=16, least=1), live("Ceph monitors: HOST or HOST:PORT each.")]
    pool: Annotated[Identifier, live("Name of the pool in Ceph.")]
    namespace: Annotated[
        Annotated[str, text(253)] | None, live("Namespace within the pool. Unset or empty: the pool's own.")
    ] = None
    user: Annotated[Identifier, live("Name of the Ceph user, without the leading client.")]
    key_secret_ref: Annotated[SecretRef, live("Secret with the user's key under `key`.")]


class LocalPool(Model):
    """A directory of one host."""

    path: Annotated[Path, live("Absolute directory on the host; made if it is not there.")]


class VSphereDatastore(Model):
    """A datastore of the cluster's vCenter."""

    name: Annotated[Identifier, live("Name of the datastore in vCenter.")]


class XenSR(Model):
    """A storage repository of the cluster's Xen pool."""

    uuid: Annotated[Uuid, live("UUID of the storage repository.")]


class SimulatedPool(Model):
    """Storage that exists only in the operator's simulation."""

    capacity: Annotated[AskedQuantity, at_least("1Mi"), live("Bytes that the simulated pool has.")]
    address: Annotated[
        Identifier | None,
        live("Which simulated storage it is: two pools of one address are one. Unset: a storage of its own."),
    ] = None


class StorageLimits(Model):
    """Where placement stops."""

    allocated_percent: Annotated[
        int, between(1, 100), live("Percent of overprovisioned bytes beyond which no new disk is placed here.")
    ] = 85
    used_percent: Annotated[
        int, between(1, 100), live("Percent of real bytes in use beyond which no new disk is placed here.")
    ] = 85


class StoragePoolSpec(Model):
    """What a pool is told."""

    UNION: ClassVar[dict[str, str]] = {
        "NFS": "nfs",
        "ISCSI": "iscsi",
        "RBD": "rbd",
        "Local": "local",
        "VSphereDatastore": "vsphere_datastore",
        "XenSR": "xen_sr",
        "Simulated": "simulated",
    }
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.type != 'Local' || self.scope.type == 'Host'", "must be of type Host for a Local pool", field="scope"
        ),
    )

    uuid: Annotated[
        Uuid | None,
        immutable("Identity of the pool, kept on it. Unset: from metadata.uid; set it to attach a known pool again."),
    ] = None
    scope: Annotated[PoolScope, immutable("From where the pool can be reached.")]
    type: Annotated[
        Literal["NFS", "ISCSI", "RBD", "Local", "VSphereDatastore", "XenSR", "Simulated"],
        immutable("What kind of storage it is; exactly the member of that name goes with it."),
    ]
    nfs: Annotated[
        NFS | None,
        live(
            "An NFS export. With type NFS. A new address is taken host by host, where no running guest uses the pool, "
            "and only if the same pool is found there."
        ),
    ] = None
    iscsi: Annotated[ISCSI | None, live("An iSCSI target. With type ISCSI.")] = None
    rbd: Annotated[RBD | None, live("A Ceph pool. With type RBD.")] = None
    local: Annotated[LocalPool | None, live("A directory of one host. With type Local.")] = None
    vsphere_datastore: Annotated[
        VSphereDatastore | None, live("A datastore of vCenter. With type VSphereDatastore.")
    ] = None
    xen_sr: Annotated[XenSR | None, live("A storage repository. With type XenSR.")] = None
    simulated: Annotated[SimulatedPool | None, live("Simulated storage. With type Simulated.")] = None
    allocation_state: Annotated[AllocationState, live(ALLOCATION_STATE)] = "Enabled"
    overprovision_percent: Annotated[
        int, between(10, 10000), live("Bytes that may be promised to volumes, in percent of those that are there.")
    ] = 100
    limits: Annotated[StorageLimits, live("How full the pool may get before nothing new is placed.")] = StorageLimits()
    tags: Annotated[
        tuple[Tag, ...],
        set_list(most=32),
        live("What offers ask for: a volume goes where all its tags are. Unset: none."),
    ] = ()
    allow_imports: Annotated[
        NamespaceSet, live("Namespaces that may take an existing disk of this pool that bears no mark.")
    ] = NO_NAMESPACES


class PoolHost(Model):
    """How one host sees the pool."""

    name: Annotated[Name, about("Name of the Host that looks at it.")]
    state: Annotated[Word, about("Ready, Pending, Unreachable or Failed, as seen from that host.")]
    message: Annotated[Sentence | None, about("What was tried and what came of it. Unset: it is reached.")] = None
    address: Annotated[
        Sentence | None,
        about("The address in use there; differs from the spec's until no guest uses it. Unset: as spec."),
    ] = None


class PoolClaim(Model):
    """The note on the pool that says whose it is."""

    installation: Annotated[Identifier, about("Installation that the claim names.")]
    uuid: Annotated[Uuid, about("Identity of the pool that the claim names.")]
    claimed_at: Annotated[Time | None, about("When it was written. Unset: the claim does not say.")] = None


class StoragePoolStatus(StatusModel):
    """What is known of a pool."""

    uuid: Annotated[Uuid | None, about("Identity of the pool. Unset: not decided yet.")] = None
    claim: Annotated[PoolClaim | None, about("The claim found or written on it. Unset: never reached.")] = None
    capacity: Annotated[Capacity | None, about("Bytes of the pool. Unset: never reached.")] = None
    summary: Annotated[Summary | None, about("Capacity as the columns show it. Unset: never reached.")] = None
    hosts: Annotated[
        tuple[PoolHost, ...],
        map_list("name", most=256),
        about("How each host in scope sees it, those that do not reach it first where there are more than fit."),
    ] = ()
    host_count: Annotated[Children | None, about("Hosts in scope, and those that reach it. Unset: not counted.")] = None
    volumes: Annotated[int | None, between(0, 2**31), about("Volumes with a disk here. Unset: not counted yet.")] = None
    orphans: Annotated[
        tuple[Orphan, ...],
        map_list("uuid", most=32),
        about(
            "Disks with our mark that the API does not know, the first of them by name; never deleted by themselves."
        ),
    ] = ()
    orphan_count: Annotated[
        int | None, between(0, 2**31), about("How many such disks there are. Unset: its disks were not listed yet.")
    ] = None
