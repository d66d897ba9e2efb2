"""What the API server refuses of networks, offers and instances."""

from tests.crds.manifests import GONE
from tests.crds.refusal import GROWS, IP, NEVER, NEVER_LATER, ONLY_THEN, UUID, bad, changed

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
    bad("an IPv6 address in long form", "Network", IP, spec__ipam__dns=["2001:DB8:0::1"]),
    bad(
        "an isolated network on a wire",
        "Network",
        ONLY_THEN.format("type", "Physical"),
        spec__type="Isolated",
    ),
    bad(
        "a network whose name is no label", "Network", "addresses are called <network>.<address>", metadata__name="a.b"
    ),
    bad("an address in octal", "NetworkAddress", IP, spec__address="10.91.0.010"),
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
        ONLY_THEN.format("type", "Instance"),
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
        ONLY_THEN.format("type", "CDROM"),
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
    bad("an address that is none", "Instance", IP, spec__networks__0__addresses=["10.91.0.300"]),
    bad(
        "a NIC without a network",
        "Instance",
        "spec.networks[0].networkRef: Required value",
        spec__networks__0__networkRef=GONE,
    ),
    bad("a host name with an underscore", "Instance", "spec.cloudInit.hostname", spec__cloudInit__hostname="web_1"),
    changed("an offer that gives more", "InstanceType", "spec.cpus", spec__cpus=2),
    changed("an offer that gets tags", "InstanceType", NEVER_LATER, spec__storageTags=["ssd"]),
    changed("an instance that moves to another zone", "Instance", NEVER, spec__zoneRef__name="other"),
    changed("an instance that gets another identity", "Instance", "spec.uuid", spec__uuid=UUID),
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
    changed("a managed disk that shrinks", "Instance", GROWS, spec__volumes__0__managed__size="128Mi"),
    changed("a NIC on another network", "Instance", "networkRef", spec__networks__0__networkRef__name="other"),
    changed("firmware that comes late", "Instance", "spec.firmware", spec__firmware={"type": "UEFI"}),
]
