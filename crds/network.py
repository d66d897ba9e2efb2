"""Network: what an instance's NIC attaches to, shared by visibility."""

from typing import Annotated, ClassVar, Literal

from crds.base import OWN_NAMESPACE, Model, NameRef, NamespaceSet, StatusModel
from crds.fields import Address, Cidr, Label, Rule, Word, about, atomic_list, between, immutable, live, map_list


class PhysicalPart(Model):
    """The part of a physical network that this network is."""

    network: Annotated[Label, about("Name of the Zone's physical network.")]
    vlan: Annotated[int | None, between(1, 4094), about("VLAN tag. Unset: untagged.")] = None


class AddressRange(Model):
    """Addresses that are given out."""

    start: Annotated[Address, about("First address given out.")]
    end: Annotated[Address, about("Last address given out.")]


class Subnet(Model):
    """One range of addresses on the wire."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.gateway) || !isCIDR(self.cidr) || !isIP(self.gateway) || "
            "cidr(self.cidr).containsIP(self.gateway)",
            "must lie inside cidr",
            field="gateway",
        ),
        Rule(
            "!has(self.ranges) || !isCIDR(self.cidr) || self.ranges.all(r, !isIP(r.start) || !isIP(r.end) || "
            "(cidr(self.cidr).containsIP(r.start) && cidr(self.cidr).containsIP(r.end)))",
            "every start and end must lie inside cidr",
            field="ranges",
        ),
    )

    cidr: Annotated[Cidr, about("The subnet in canonical form; IPv4 or IPv6.")]
    gateway: Annotated[Address | None, live("Guests' default gateway. Unset: none, the subnet leads nowhere.")] = None
    ranges: Annotated[
        tuple[AddressRange, ...],
        atomic_list(most=8),
        live(
            "Addresses given to NICs that ask for none; others may be asked for by name. Unset: none is given out by "
            "itself."
        ),
    ] = ()


class IPAM(Model):
    """Which addresses are given out."""

    subnets: Annotated[
        tuple[Subnet, ...],
        map_list("cidr", most=8, least=1),
        live("Subnets on the wire; a NIC gets one address of each."),
    ]
    dns: Annotated[
        tuple[Address, ...], atomic_list(most=8), live("Resolvers given to guests, in order. Unset: the zone's.")
    ] = ()


class NetworkSpec(Model):
    """What a network is told."""

    UNION: ClassVar[dict[str, str]] = {"Physical": "physical", "Isolated": "", "Simulated": ""}

    zone_ref: Annotated[NameRef, immutable("The Zone whose hosts reach it.")]
    type: Annotated[
        Literal["Physical", "Isolated", "Simulated"],
        immutable(
            "Physical: a part of a wire of the zone; Isolated: an overlay of its own; Simulated: no wire at all."
        ),
    ]
    physical: Annotated[
        PhysicalPart | None,
        immutable(
            "The wire and VLAN, which the zone must grant to this namespace and no older Network may have. With type "
            "Physical."
        ),
    ] = None
    ipam: Annotated[
        IPAM | None,
        live("Addresses given out. Unset: none; the guest asks the wire by DHCP, and what its agent reports is shown."),
    ] = None
    visibility: Annotated[NamespaceSet, live("Namespaces whose instances may use it, beside its own.")] = OWN_NAMESPACE


class SubnetUse(Model):
    """How full a subnet is."""

    cidr: Annotated[Word, about("The subnet.")]
    allocated: Annotated[int, between(0, 2**53), about("Addresses taken in it.")]
    available: Annotated[int, between(0, 2**53), about("Addresses of its ranges that are free.")]


class NetworkStatus(StatusModel):
    """What is known of a network."""

    vlan: Annotated[int | None, between(1, 4094), about("VLAN tag in use. Unset: untagged, or not granted yet.")] = None
    allocated: Annotated[
        int | None, between(0, 2**53), about("Addresses taken in all subnets. Unset: none are given out.")
    ] = None
    available: Annotated[
        int | None, between(0, 2**53), about("Addresses of the ranges that are free. Unset: none are given out.")
    ] = None
    summary: Annotated[Word | None, about("Taken/all addresses, such as 3/201. Unset: none are given out.")] = None
    subnets: Annotated[tuple[SubnetUse, ...], map_list("cidr", most=8), about("The same for each subnet.")] = ()
    instances: Annotated[int | None, about("Instances with a NIC on it. Unset: not counted yet.")] = None
