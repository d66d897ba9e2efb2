"""The registry of all kinds: names, models, columns. Read by the schema's writer, the engine and the tests."""

from crds.base import Column, Kind, Model, StatusModel
from crds.fields import Rule
from crds.host import HostSpec, HostStatus
from crds.hostcluster import HostClusterSpec, HostClusterStatus
from crds.hostpod import HostPodSpec, HostPodStatus
from crds.imagestore import ImageStoreSpec, ImageStoreStatus
from crds.instance import InstanceSpec
from crds.instancestatus import InstanceStatus
from crds.instancetype import InstanceTypeSpec, InstanceTypeStatus
from crds.network import NetworkSpec, NetworkStatus
from crds.networkaddress import CLAIMED, NetworkAddressSpec, NetworkAddressStatus
from crds.region import RegionSpec, RegionStatus
from crds.snapshot import SnapshotSpec, SnapshotStatus
from crds.storagepool import StoragePoolSpec, StoragePoolStatus
from crds.template import TemplateSpec, TemplateStatus
from crds.volume import VolumeSpec, VolumeStatus
from crds.volumetype import VolumeTypeSpec, VolumeTypeStatus
from crds.zone import ZoneSpec, ZoneStatus

_READY = (
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
)
_AGE = (Column("Age", ".metadata.creationTimestamp", "date"),)
_MESSAGE = (Column("Message", '.status.conditions[?(@.type=="Ready")].message', wide=True),)


def _columns(*columns: Column) -> tuple[Column, ...]:
    return (*columns, *_READY, *_AGE, *_MESSAGE)


def _capacity(*resources: str) -> tuple[Column, ...]:
    names = {"cpus": "CPUs", "memory": "Memory", "storage": "Storage"}
    return tuple(Column(names[resource], f".status.summary.{resource}") for resource in resources)


_INSTANCES = Column("Instances", ".status.instances", "integer")
_STATE = Column("State", ".status.state")
_ALLOCATION = Column("Allocation", ".spec.allocationState", wide=True)
_ZONE = Column("Zone", ".spec.zoneRef.name")

_INSTANCE_NAME = Rule(
    "self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    "metadata.name of an Instance must be a DNS label of at most 40 characters: it becomes the guest's host name and a "
    "part of its volumes' names",
)
_NETWORK_NAME = Rule(
    "self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    "metadata.name of a Network must be a DNS label: addresses are called <network>.<address>",
)
_ADDRESS_NAME = Rule(
    "!isIP(self.spec.address) || self.metadata.name == self.spec.networkRef.name + '.' + "
    "self.spec.address.replace('.', '-') || (self.spec.address.contains(':') && "
    "self.metadata.name.matches('^[-a-z0-9]+[.]([0-9a-f]{4}-){7}[0-9a-f]{4}$') && "
    "self.metadata.name.startsWith(self.spec.networkRef.name + '.') && "
    "ip(self.metadata.name.substring(self.metadata.name.size() - 39).replace('-', ':')) == ip(self.spec.address))",
    "metadata.name must be <network>.<address> with dashes, IPv6 in full form, such as lan.10-91-0-60: the name is "
    "the claim",
)
_VOLUME_NAME = Rule(
    "self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    "metadata.name of a Volume must be a DNS label",
)
_VOLUME_QUIET = Rule(
    "self.spec.shareable == oldSelf.spec.shareable || !has(self.status) || !has(self.status.attachments) || "
    "self.status.attachments.size() == 0",
    "may be changed only while no instance has the volume: stop those in status.attachments, or remove it from them",
    field="spec.shareable",
)
_HOST_EMPTY = Rule(
    "self.spec.hostClusterRef == oldSelf.spec.hostClusterRef || !has(self.status) || !has(self.status.instances) || "
    "self.status.instances == 0",
    "may be changed only while the host is empty: set maintenance: true and wait until status.instances is 0",
    field="spec.hostClusterRef",
)


def _kind(
    kind: str,
    plural: str,
    short: str,
    models: tuple[type[Model], type[StatusModel]],
    description: str,
    columns: tuple[Column, ...],
    *rules: Rule,
    namespaced: bool = False,
    from_creation: tuple[str, str] | None = None,
) -> Kind:
    names = kind, plural, kind.lower(), short
    return Kind(*names, namespaced, models[0], models[1], description, columns, rules, from_creation)


_ALL = (
    _kind(
        "Region",
        "regions",
        "rgn",
        (RegionSpec, RegionStatus),
        "Everything that one control plane manages.",
        _columns(Column("Zones", ".status.zones.total", "integer"), *_capacity("cpus", "memory", "storage")),
    ),
    _kind(
        "Zone",
        "zones",
        "zn",
        (ZoneSpec, ZoneStatus),
        "One data centre.",
        _columns(
            Column("Region", ".spec.regionRef.name", wide=True),
            Column("Hosts", ".status.hosts.total", "integer"),
            *_capacity("cpus", "memory", "storage"),
            _INSTANCES,
            _ALLOCATION,
        ),
    ),
    _kind(
        "HostPod",
        "hostpods",
        "hpod",
        (HostPodSpec, HostPodStatus),
        "A rack: one L2 segment of a zone.",
        _columns(
            _ZONE,
            Column("Hosts", ".status.hosts.total", "integer"),
            *_capacity("cpus", "memory"),
            _INSTANCES,
            _ALLOCATION,
        ),
    ),
    _kind(
        "HostCluster",
        "hostclusters",
        "hcl",
        (HostClusterSpec, HostClusterStatus),
        "Hosts of one hypervisor and CPU architecture that share storage.",
        _columns(
            Column("Pod", ".spec.hostPodRef.name"),
            Column("Hypervisor", ".spec.hypervisor"),
            Column("Hosts", ".status.hosts.total", "integer"),
            *_capacity("cpus", "memory"),
            _INSTANCES,
            Column("CPU", ".status.cpu.model", wide=True),
            _ALLOCATION,
        ),
    ),
    _kind(
        "Host",
        "hosts",
        "hst",
        (HostSpec, HostStatus),
        "A physical server that runs guests.",
        _columns(
            Column("Cluster", ".spec.hostClusterRef.name"),
            _STATE,
            *_capacity("cpus", "memory"),
            _INSTANCES,
            Column("Hypervisor", ".status.hypervisor", wide=True),
            Column("Version", ".status.hypervisorVersion", wide=True),
            Column("Contact", ".status.lastContact", "date", wide=True),
            _ALLOCATION,
        ),
        _HOST_EMPTY,
    ),
    _kind(
        "StoragePool",
        "storagepools",
        "spool",
        (StoragePoolSpec, StoragePoolStatus),
        "Primary storage: where the disks of guests lie.",
        _columns(
            Column("Type", ".spec.type"),
            Column("Scope", ".spec.scope.type"),
            *_capacity("storage"),
            Column("Volumes", ".status.volumes", "integer"),
            Column("Hosts", ".status.hostCount.ready", "integer", wide=True),
            _ALLOCATION,
        ),
    ),
    _kind(
        "ImageStore",
        "imagestores",
        "istore",
        (ImageStoreSpec, ImageStoreStatus),
        "Secondary storage: templates, ISOs, snapshots and backups.",
        _columns(
            Column("Type", ".spec.type"),
            Column("Scope", ".spec.scope.type"),
            *_capacity("storage"),
            Column("Templates", ".status.templates", "integer", wide=True),
            _ALLOCATION,
        ),
    ),
    _kind(
        "InstanceType",
        "instancetypes",
        "itype",
        (InstanceTypeSpec, InstanceTypeStatus),
        "A compute offering: CPU, memory and placement defaults of instances.",
        _columns(Column("CPUs", ".spec.cpus", "integer"), Column("Memory", ".spec.memory")),
    ),
    _kind(
        "VolumeType",
        "volumetypes",
        "vtype",
        (VolumeTypeSpec, VolumeTypeStatus),
        "A disk offering: where a disk lies, how it is provisioned, how fast it may be.",
        _columns(
            Column("Provisioning", ".spec.provisioning"), Column("Tags", ".spec.storageTags", "string", wide=True)
        ),
    ),
    _kind(
        "Template",
        "templates",
        "tmpl",
        (TemplateSpec, TemplateStatus),
        "A disk image or ISO that instances are made from.",
        _columns(
            Column("Type", ".spec.type"),
            Column("Format", ".status.format"),
            Column("Size", ".status.virtualSize"),
            _STATE,
            Column("Percent", ".status.percent", "integer"),
            Column("Shared", ".spec.visibility.type", wide=True),
        ),
        namespaced=True,
    ),
    _kind(
        "Volume",
        "volumes",
        "vol",
        (VolumeSpec, VolumeStatus),
        "A disk.",
        _columns(
            Column("Size", ".status.size"),
            _STATE,
            Column("Pool", ".status.disk.pool"),
            Column("Instance", ".status.attachments[0].instance"),
            Column("Used", ".status.used", wide=True),
            Column("Source", ".spec.source.type", wide=True),
            Column("UUID", ".status.uuid", wide=True),
        ),
        _VOLUME_NAME,
        _VOLUME_QUIET,
        namespaced=True,
    ),
    _kind(
        "Snapshot",
        "snapshots",
        "snap",
        (SnapshotSpec, SnapshotStatus),
        "What was on a volume, or on all of an instance, at one moment.",
        _columns(
            Column("Of", ".spec.source.type"),
            _STATE,
            Column("Size", ".status.size"),
            Column("Taken", ".status.takenAt", "date"),
        ),
        namespaced=True,
    ),
    _kind(
        "Network",
        "networks",
        "nwk",
        (NetworkSpec, NetworkStatus),
        "What an instance's NIC attaches to.",
        _columns(
            _ZONE,
            Column("Type", ".spec.type"),
            Column("VLAN", ".spec.physical.vlan", "integer"),
            Column("Subnet", ".spec.ipam.subnets[0].cidr"),
            Column("Addresses", ".status.summary"),
            Column("Shared", ".spec.visibility.type", wide=True),
        ),
        _NETWORK_NAME,
        namespaced=True,
    ),
    _kind(
        "NetworkAddress",
        "networkaddresses",
        "naddr",
        (NetworkAddressSpec, NetworkAddressStatus),
        "One address taken: creating it is the claim.",
        _columns(
            Column("Network", ".spec.networkRef.name"),
            Column("Address", ".spec.address"),
            Column("Claim", ".spec.claim.type"),
            Column("Instance", ".spec.claim.instance.name"),
            Column("Used by", ".status.usedBy.name"),
        ),
        _ADDRESS_NAME,
        namespaced=True,
        from_creation=CLAIMED,
    ),
    _kind(
        "Instance",
        "instances",
        "inst",
        (InstanceSpec, InstanceStatus),
        "A virtual machine.",
        _columns(
            Column("Type", ".spec.instanceTypeRef.name"),
            _STATE,
            Column("Host", ".status.hostRef.name"),
            Column("Address", ".status.primaryAddress"),
            Column("CPUs", ".status.resources.cpus", "integer", wide=True),
            Column("Memory", ".status.resources.memory", wide=True),
            Column("Strategy", ".spec.runStrategy", wide=True),
            Column("UUID", ".status.uuid", wide=True),
        ),
        _INSTANCE_NAME,
        namespaced=True,
    ),
)

#: Every kind by its name, in the order of the cloud's hierarchy.
KINDS: dict[str, Kind] = {kind.kind: kind for kind in _ALL}
