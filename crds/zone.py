"""Zone: one data centre, with the physical networks that tenants' networks are laid on."""

from typing import Annotated

from crds.base import (
    ALL_NAMESPACES,
    ALLOCATION_STATE,
    DEDICATED_TO,
    AllocationState,
    Model,
    NameRef,
    NamespaceSet,
    StatusModel,
)
from crds.capacity import Capacity, Children, Room, Summary
from crds.fields import Address, Label, about, atomic_list, between, immutable, live, map_list, set_list, text

VlanRange = Annotated[
    str,
    text(
        9,
        pattern=r"^[1-9][0-9]{0,3}(-[1-9][0-9]{0,3})?$",
        says='must be a VLAN tag or a range of them, such as "120" or "100-199"',
    ),
]
DnsDomain = Annotated[str, text(253, least=1, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$")]


class ZoneDNS(Model):
    """Name service for the zone's guests."""

    servers: Annotated[
        tuple[Address, ...],
        atomic_list(most=8),
        about("Resolvers given to guests whose network names none, in the order they are asked. Unset: none."),
    ] = ()
    search_domains: Annotated[
        tuple[DnsDomain, ...],
        atomic_list(most=8),
        about("Domains that guests complete short names with, in order. Unset: none."),
    ] = ()


class PhysicalNetwork(Model):
    """A wire of the data centre that Networks may be laid on."""

    name: Annotated[Label, about("What Networks and uplinks call it.")]
    untagged: Annotated[bool, live("Whether a Network may use it without a VLAN tag. Unset: false.")] = False
    vlans: Annotated[
        tuple[VlanRange, ...],
        set_list(most=64),
        live("VLAN tags that Networks may use: single ones or ranges within 1-4094, such as 100-199. Unset: none."),
    ] = ()
    namespaces: Annotated[
        NamespaceSet | None, live("Namespaces whose Networks may be laid on it. Unset: None, nobody's.")
    ] = None


class ZoneSpec(Model):
    """What a zone is told."""

    region_ref: Annotated[NameRef, immutable("The Region this data centre belongs to.")]
    allocation_state: Annotated[AllocationState, live(ALLOCATION_STATE)] = "Enabled"
    dedicated_to: Annotated[NamespaceSet, live(DEDICATED_TO)] = ALL_NAMESPACES
    dns: Annotated[ZoneDNS | None, live("Name service for guests whose network has none of its own. Unset: none.")] = (
        None
    )
    physical_networks: Annotated[
        tuple[PhysicalNetwork, ...],
        map_list("name", most=32),
        live("Wires that tenants' networks may be laid on, and by whom. Unset: none."),
    ] = ()


class ZoneStatus(StatusModel):
    """What is known of a zone."""

    pods: Annotated[Children | None, about("HostPods of the zone. Unset: not counted yet.")] = None
    clusters: Annotated[Children | None, about("HostClusters of the zone. Unset: not counted yet.")] = None
    hosts: Annotated[Children | None, about("Hosts of the zone. Unset: not counted yet.")] = None
    storage_pools: Annotated[Children | None, about("StoragePools in the zone. Unset: not counted yet.")] = None
    instances: Annotated[int | None, about("Instances placed in the zone. Unset: not counted yet.")] = None
    capacity: Annotated[Capacity | None, about("Sum over its pods and pools. Unset: not known yet.")] = None
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
