"""What the API server refuses, and how it says so: read by test_refusals.

Each case is a sentence, the object's kind, the change that makes a good example bad, and a part of the message that a
person sees. The cases differ in the rule that they meet, not only in the value.
"""

from dataclasses import dataclass
from typing import Any

from tests.crds.manifests import GONE


@dataclass(frozen=True)
class Refusal:
    sentence: str
    kind: str
    changes: dict[str, Any]
    message: str
    #: What the good object is given before it is changed; None: the bad one is created.
    before: dict[str, Any] | None = None


def bad(sentence: str, kind: str, message: str, **changes: Any) -> Refusal:
    return Refusal(sentence, kind, changes, message)


def changed(sentence: str, kind: str, message: str, *, before: dict[str, Any] | None = None, **changes: Any) -> Refusal:
    return Refusal(sentence, kind, changes, message, before or {})


_ONLY_THEN = "must be set when {} is {}, and only then"
_NEVER = "cannot be changed"
_NEVER_LATER = "cannot be set, changed or removed later"
_WHOLE = " must be a whole number of bytes, such as 512Mi, 20Gi, 1.5Gi or 500M"
_IP = "must be an IP address in canonical form, such as 10.91.0.60 or 2001:db8::1"
_GROWS = "a volume only grows"
_UUID = "0b6c1d3e-1111-4222-8333-944455556666"

TOPOLOGY = [
    bad("a description that is too long", "Region", "may not be more than 1024", spec__description="x" * 1025),
    bad("a zone without a region", "Zone", "spec.regionRef: Required value", spec__regionRef=GONE),
    bad(
        "an unknown allocation state",
        "Zone",
        'Unsupported value: "Off": supported values: "Enabled", "Disabled"',
        spec__allocationState="Off",
    ),
    bad("a resolver by name", "Zone", _IP, spec__dns__servers=["dns.example"]),
    bad(
        "too many resolvers", "Zone", "must have at most 8 items", spec__dns__servers=[f"10.0.0.{n}" for n in range(9)]
    ),
    bad(
        "two physical networks of one name",
        "Zone",
        'spec.physicalNetworks[1]: Duplicate value: {"name":"lan"}',
        spec__physicalNetworks__1={"name": "lan"},
    ),
    bad(
        "half a VLAN range", "Zone", "must be a VLAN tag or a range of them", spec__physicalNetworks__0__vlans=["100-"]
    ),
    bad(
        "namespaces by name without names",
        "Zone",
        _ONLY_THEN.format("type", "Names"),
        spec__dedicatedTo={"type": "Names"},
    ),
    bad(
        "a selector beside type All",
        "Zone",
        _ONLY_THEN.format("type", "Selector"),
        spec__dedicatedTo={"type": "All", "selector": {"matchLabels": {"a": "b"}}},
    ),
    bad(
        "too many labels in a selector",
        "Zone",
        "must have at most 16 items",
        spec__dedicatedTo={"type": "Selector", "selector": {"matchLabels": {f"l{n}": "" for n in range(17)}}},
    ),
    bad("a reference without a name", "HostPod", "spec.zoneRef.name", spec__zoneRef__name=""),
    bad("a field that does not exist", "HostPod", 'unknown field "spec.rows"', spec__rows=3),
    bad("an unknown hypervisor", "HostCluster", 'Unsupported value: "HyperV"', spec__hypervisor="HyperV"),
    bad(
        "almost no overcommit",
        "HostCluster",
        "should be greater than or equal to 10",
        spec__overcommit__cpuPercent=5,
    ),
    bad("a limit above all", "HostCluster", "should be less than or equal to 100", spec__limits__memoryPercent=101),
    bad(
        "a fraction of a percent",
        "HostCluster",
        'must be of type integer: "number"',
        spec__overcommit__cpuPercent=150.5,
    ),
    bad("a named CPU without a name", "HostCluster", _ONLY_THEN.format("mode", "Named"), spec__cpu={"mode": "Named"}),
    bad(
        "a connection of a cluster that has none",
        "HostCluster",
        "must be set for hypervisor VSphere and Xen, whose end-point belongs to the cluster, and for no other",
        spec__connection={"type": "Xen", "xen": {"servers": ["x1"], "credentialsSecretRef": {"name": "xen"}}},
    ),
    bad(
        "a connection of another hypervisor",
        "HostCluster",
        "connection.type must be the same as hypervisor",
        spec__hypervisor="VSphere",
        spec__connection={"type": "Xen", "xen": {"servers": ["x1"], "credentialsSecretRef": {"name": "xen"}}},
    ),
    bad(
        "an uplink with two members",
        "HostCluster",
        _ONLY_THEN.format("type", "OpenVSwitch"),
        spec__uplinks__0__openVSwitch={"bridge": "br0"},
    ),
    bad("an uplink without a type", "HostCluster", "spec.uplinks[0].type: Required value", spec__uplinks__0__type=GONE),
    bad(
        "an interface name that Linux would cut",
        "HostCluster",
        "may not be more than 15",
        spec__uplinks__0__bridge__name="br-guest-network",
    ),
    bad(
        "a bridge pattern without a place for the VLAN",
        "HostCluster",
        "should match",
        spec__uplinks__0={"name": "lan", "type": "BridgePerVLAN", "bridgePerVLAN": {"pattern": "br-lan-vlan"}},
    ),
    bad(
        "TLS without a certificate",
        "Host",
        "must be set for a qemu+tls:// uri, and for no other",
        spec__connection__libvirt__tlsSecretRef=GONE,
    ),
    bad(
        "SSH without a key",
        "Host",
        "must be set for a qemu+ssh:// uri, and for no other",
        spec__connection__libvirt={"uri": "qemu+ssh://root@node-1/system"},
    ),
    bad(
        "plain TCP that nobody allowed",
        "Host",
        "qemu+tcp:// is neither encrypted nor authenticated: use qemu+tls://, or set allowPlaintext: true",
        spec__connection__libvirt={"uri": "qemu+tcp://node-1/system"},
    ),
    bad(
        "a URI of something else",
        "Host",
        '"https://node-1/system" must be qemu+tls://HOST/system',
        spec__connection__libvirt__uri="https://node-1/system",
    ),
    bad("no connection at all", "Host", "spec.connection: Required value", spec__connection=GONE),
    bad(
        "a connection with the member of another type",
        "Host",
        _ONLY_THEN.format("type", "Libvirt"),
        spec__connection__type="Simulated",
    ),
    bad(
        "a unit that Kubernetes does not have",
        "Host",
        '"2GB" must be a whole number of bytes, such as 512Mi',
        spec__reserved={"memory": "2GB"},
    ),
    bad(
        "a date in words",
        "Host",
        "must be of type date-time",
        spec__outOfService={"declaredAt": "yesterday"},
    ),
    bad(
        "too little simulated memory",
        "Host",
        "must be at least 64Mi",
        spec__connection={"type": "Simulated", "simulated": {"cpus": 1, "memory": "1Mi"}},
    ),
    changed("a zone that moves to another region", "Zone", _NEVER, spec__regionRef__name="other"),
    changed("a rack that moves to another zone", "HostPod", _NEVER, spec__zoneRef__name="other"),
    changed("a cluster that becomes another hypervisor's", "HostCluster", _NEVER, spec__hypervisor="Simulated"),
    changed("an architecture that comes late", "HostCluster", _NEVER, spec__architecture="aarch64"),
    changed(
        "an uplink that becomes another type",
        "HostCluster",
        "spec.uplinks[0].type",
        spec__uplinks__0={"name": "lan", "type": "Simulated"},
    ),
    changed(
        "a host that is reached in another way",
        "Host",
        "spec.connection.type",
        spec__connection={"type": "Simulated", "simulated": {"cpus": 1, "memory": "1Gi"}},
    ),
]

STORAGE = [
    bad(
        "a local pool of a cluster",
        "StoragePool",
        "must be of type Host for a Local pool",
        spec__type="Local",
        spec__local={"path": "/srv"},
        spec__nfs=GONE,
    ),
    bad("a pool without its member", "StoragePool", _ONLY_THEN.format("type", "RBD"), spec__type="RBD"),
    bad(
        "a scope with the reference of another type",
        "StoragePool",
        _ONLY_THEN.format("type", "Zone"),
        spec__scope__type="Zone",
    ),
    bad("nothing to give out", "StoragePool", "greater than or equal to 10", spec__overprovisionPercent=0),
    bad(
        "an iSCSI name that is none",
        "StoragePool",
        "spec.iscsi.target",
        spec__type="ISCSI",
        spec__nfs=GONE,
        spec__iscsi={"portals": ["10.0.0.1"], "target": "array-one", "layout": "LUNPerVolume"},
    ),
    bad(
        "a volume group that is not named",
        "StoragePool",
        _ONLY_THEN.format("layout", "VolumeGroup"),
        spec__type="ISCSI",
        spec__nfs=GONE,
        spec__iscsi={"portals": ["10.0.0.1"], "target": "iqn.2020-01.example:a", "layout": "VolumeGroup"},
    ),
    bad("a UUID in capitals", "StoragePool", "must be a UUID in lower case", spec__uuid=_UUID.upper()),
    bad("one tag twice", "StoragePool", 'Duplicate value: "ssd"', spec__tags=["ssd", "ssd"]),
    bad("two mount options in one", "StoragePool", "spec.nfs.options[0]", spec__nfs__options=["ro, exec"]),
    bad("an export that is not a path", "StoragePool", "spec.nfs.path", spec__nfs__path=["/a"]),
    bad(
        "a network that is a host",
        "ImageStore",
        "must be a network in canonical form: its first address and the prefix length, such as 10.91.0.0/24",
        spec__allowedSources={"cidrs": ["10.91.0.7/24"]},
    ),
    bad("a store of one host", "ImageStore", 'Unsupported value: "Host"', spec__scope={"type": "Host"}),
    bad(
        "a checksum that proves nothing",
        "Template",
        "must be sha256: or sha512: and",
        spec__source__http__checksum="md5:abc",
    ),
    bad("a template by FTP", "Template", "spec.source.http.url", spec__source__http__url="ftp://10.0.0.1/guest"),
    bad(
        "a password in a URL",
        "Template",
        "URL without a user name, password or spaces",
        spec__source__http__url="https://me:pw@host/guest",
    ),
    bad("a QCOW2 that is an ISO", "Template", "must be Raw or unset for an ISO", spec__type="ISO"),
    bad(
        "a disk of unknown format",
        "Template",
        "must be set for a Disk from HTTP or File: QCOW2, Raw or VMDK",
        spec__format=GONE,
    ),
    bad(
        "a template with two sources",
        "Template",
        _ONLY_THEN.format("type", "Volume"),
        spec__source__volume={"volumeRef": {"name": "v"}},
    ),
    bad("a blank volume without a size", "Volume", "must be set for a blank volume", spec__size=GONE),
    bad("a size with a space", "Volume", '"10 Gi" must be a whole number of bytes', spec__size="10 Gi"),
    bad("a size of half a byte", "Volume", _WHOLE, spec__size="0.5"),
    bad("a volume that is too small to be one", "Volume", "must be at least 1Mi", spec__size="4Ki"),
    bad(
        "a volume from a template that is not named",
        "Volume",
        _ONLY_THEN.format("type", "Template"),
        spec__source={"type": "Template"},
    ),
    bad(
        "an existing disk that is not named",
        "Volume",
        "must be set to take a retained disk again, or name an unmarked one in source.existing.disk",
        spec__source={"type": "Existing", "existing": {"storagePoolRef": {"name": "nfs-1"}}},
    ),
    bad("a volume whose name is no label", "Volume", "must be a DNS label", metadata__name="web.data"),
    bad("a read limit of nothing", "VolumeType", "greater than or equal to 1", spec__limits__readIOPS=0),
    bad("an unknown provisioning", "VolumeType", 'supported values: "Thin", "Thick"', spec__provisioning="Sparse"),
    bad(
        "a snapshot of an instance that names a volume",
        "Snapshot",
        _ONLY_THEN.format("type", "Instance"),
        spec__source__type="Instance",
    ),
    changed("a pool that gets an identity later", "StoragePool", _NEVER_LATER, spec__uuid=_UUID),
    changed(
        "a pool that becomes another's",
        "StoragePool",
        "spec.scope",
        spec__scope={"type": "Host", "hostRef": {"name": "node-1"}},
    ),
    changed(
        "a pool that becomes another type",
        "StoragePool",
        "spec.type",
        spec__type="Simulated",
        spec__nfs=GONE,
        spec__simulated={"capacity": "1Ti"},
    ),
    changed(
        "a template of other bytes", "Template", "spec.source", spec__source__http__url="http://10.90.0.4/other.qcow2"
    ),
    changed("a volume that shrinks", "Volume", _GROWS, spec__size="64Mi"),
    changed("a volume that shrinks in another unit", "Volume", _GROWS, spec__size="100M"),
    changed(
        "a volume whose size is taken away",
        "Volume",
        _GROWS,
        before={"spec__source": {"type": "Template", "template": {"templateRef": {"name": "t"}}}},
        spec__size=GONE,
    ),
    changed(
        "a volume of another origin",
        "Volume",
        "spec.source",
        spec__source={"type": "Template", "template": {"templateRef": {"name": "t"}}},
    ),
    changed("a volume that gets a maker", "Volume", "spec.madeBy", spec__madeBy={"name": "web-1", "uid": _UUID}),
    changed("a snapshot of something else", "Snapshot", "spec.source", spec__source__volumeRef__name="other"),
]

NETWORK = [
    bad(
        "a gateway outside its subnet",
        "Network",
        "spec.ipam.subnets[0].gateway",
        spec__ipam__subnets__0__gateway="10.92.0.1",
    ),
    bad(
        "a range outside its subnet",
        "Network",
        "every start and end must lie inside cidr",
        spec__ipam__subnets__0__ranges__0__end="10.91.1.9",
    ),
    bad("a subnet of no network", "Network", "should have at least 1 items", spec__ipam__subnets=[]),
    bad("a VLAN that does not exist", "Network", "less than or equal to 4094", spec__physical__vlan=4095),
    bad("an IPv6 address in long form", "Network", _IP, spec__ipam__dns=["2001:DB8:0::1"]),
    bad(
        "an isolated network on a wire",
        "Network",
        _ONLY_THEN.format("type", "Physical"),
        spec__type="Isolated",
    ),
    bad(
        "a network whose name is no label", "Network", "addresses are called <network>.<address>", metadata__name="a.b"
    ),
    bad("an address in octal", "NetworkAddress", _IP, spec__address="10.91.0.010"),
    bad(
        "a claim under another name",
        "NetworkAddress",
        "the name is the claim",
        metadata__name="lan.10-91-0-201",
    ),
    bad(
        "an IPv6 claim in short form",
        "NetworkAddress",
        "IPv6 in full form",
        metadata__name="lan.2001-db8--1",
        spec__address="2001:db8::1",
    ),
    bad(
        "a reservation that names a NIC",
        "NetworkAddress",
        _ONLY_THEN.format("type", "Instance"),
        spec__claim__type="Instance",
    ),
    changed("a network that moves to a VLAN", "Network", "spec.physical", spec__physical__vlan=120),
    changed("an address that becomes another's", "NetworkAddress", "spec.claim", spec__claim__reserved__name="db-2"),
]

INSTANCE = [
    bad("an offer without a CPU", "InstanceType", "greater than or equal to 1", spec__cpus=0),
    bad("a negative amount of memory", "InstanceType", '"-1Gi" must be a whole', spec__memory="-1Gi"),
    bad("memory in thousandths", "InstanceType", '"512000m" must be a whole', spec__memory="512000m"),
    bad("memory with an exponent", "InstanceType", '"1e9" must be a whole', spec__memory="1e9"),
    bad("memory as a negative number", "InstanceType", '"-1" must be a whole', spec__memory=-1),
    bad(
        "a name that is too long",
        "Instance",
        "must be a DNS label of at most 40 characters",
        metadata__name="w" * 41,
    ),
    bad("a volume's name that is too long", "Instance", "may not be more than 20", spec__volumes__0__name="r" * 21),
    bad(
        "offer and resources both",
        "Instance",
        "exactly one of instanceTypeRef and resources must be set",
        spec__resources={"cpus": 1, "memory": "1Gi"},
    ),
    bad(
        "neither offer nor resources",
        "Instance",
        "exactly one of instanceTypeRef and resources must be set",
        spec__instanceTypeRef=GONE,
    ),
    bad("an unknown run strategy", "Instance", '"RerunOnFailure", "Once", "Manual", "Halted"', spec__runStrategy="On"),
    bad(
        "two primary networks",
        "Instance",
        "only one network may be primary",
        spec__networks=[{"name": name, "networkRef": {"name": name}, "primary": True} for name in ("a", "b")],
    ),
    bad(
        "two disks to boot first",
        "Instance",
        "no two volumes may have the same bootOrder",
        spec__volumes__1__bootOrder=1,
    ),
    bad(
        "a managed volume of no size",
        "Instance",
        "must be set for a volume without a template",
        spec__volumes__0={"name": "root", "type": "Managed", "managed": {}},
    ),
    bad(
        "a volume with the member of another type",
        "Instance",
        _ONLY_THEN.format("type", "CDROM"),
        spec__volumes__1__type="CDROM",
    ),
    bad(
        "more volumes than slots",
        "Instance",
        "must have at most 32 items",
        spec__volumes=[{"name": f"d{n}", "type": "CDROM", "cdrom": {}} for n in range(33)],
    ),
    bad(
        "more NICs than slots",
        "Instance",
        "must have at most 16 items",
        spec__networks=[{"name": f"n{n}", "networkRef": {"name": "lan"}} for n in range(17)],
    ),
    bad(
        "secure boot without UEFI",
        "Instance",
        "needs firmware of type UEFI",
        spec__firmware={"type": "BIOS", "secureBoot": True},
    ),
    bad(
        "a Disabled host that is not named",
        "Instance",
        "only together with hostRef",
        spec__placement={"ignoreAllocationState": True},
    ),
    bad("endless patience", "Instance", "less than or equal to 3600", spec__shutdown__gracePeriodSeconds=86400),
    bad(
        "a private key where a public one belongs",
        "Instance",
        "must be a public key as in the file ~/.ssh/id_ed25519.pub",
        spec__cloudInit__sshAuthorizedKeys=["-----BEGIN OPENSSH PRIVATE KEY-----"],
    ),
    bad(
        "an unknown power request",
        "Instance",
        "spec.power.action",
        spec__power={"action": "Off", "requestedAt": "2026-11-23T10:00:00Z"},
    ),
    bad(
        "a power request without a time",
        "Instance",
        "spec.power.requestedAt: Required value",
        spec__power={"action": "Reset"},
    ),
    bad("an address that is none", "Instance", _IP, spec__networks__0__addresses=["10.91.0.300"]),
    bad(
        "a NIC without a network",
        "Instance",
        "spec.networks[0].networkRef: Required value",
        spec__networks__0__networkRef=GONE,
    ),
    bad("a host name with an underscore", "Instance", "spec.cloudInit.hostname", spec__cloudInit__hostname="web_1"),
    changed("an offer that gives more", "InstanceType", "spec.cpus", spec__cpus=2),
    changed("an offer that gets tags", "InstanceType", _NEVER_LATER, spec__storageTags=["ssd"]),
    changed("an instance that moves to another zone", "Instance", _NEVER, spec__zoneRef__name="other"),
    changed("an instance that gets another identity", "Instance", "spec.uuid", spec__uuid=_UUID),
    changed(
        "a disk that becomes another type",
        "Instance",
        "spec.volumes[0].type",
        spec__volumes__0={"name": "root", "type": "CDROM", "cdrom": {}},
    ),
    changed(
        "a disk of another template",
        "Instance",
        "spec.volumes[0].managed.templateRef",
        spec__volumes__0__managed__templateRef={"name": "other"},
    ),
    changed("a managed disk that shrinks", "Instance", _GROWS, spec__volumes__0__managed__size="128Mi"),
    changed("a NIC on another network", "Instance", "networkRef", spec__networks__0__networkRef__name="other"),
    changed("firmware that comes late", "Instance", "spec.firmware", spec__firmware={"type": "UEFI"}),
]

REFUSALS = [*TOPOLOGY, *STORAGE, *NETWORK, *INSTANCE]
