"""How a network is reached on one host: which kind of uplink, and its name there. Pure."""

from dataclasses import dataclass

from crds.host import HostSpec
from crds.hostcluster import HostClusterSpec, Uplink
from crds.network import NetworkSpec


@dataclass(frozen=True, slots=True)
class Wire:
    """What a NicAttachment carries."""

    type: str
    name: str


@dataclass(frozen=True, slots=True)
class NoWire:
    """The network does not reach the host."""

    reason: str
    message: str


def wire(network: NetworkSpec, host: HostSpec, cluster: HostClusterSpec, *, named: str, at: str) -> Wire | NoWire:
    """`named` and `at` are the network and the host in a person's words."""
    if network.type == "Simulated":
        return Wire("Simulated", named)
    if network.physical is None:
        return NoWire(
            "Unsupported", f"{named}: spec.type {network.type} is not honoured by this version; use Physical."
        )
    physical, vlan = network.physical.network, network.physical.vlan
    uplink = _uplink(physical, host, cluster)
    if uplink is None:
        return NoWire(
            "NoUplink",
            f"{named} lies on physical network {physical}, for which neither {at} nor its HostCluster has an uplink.",
        )
    if uplink.type == "Bridge" and uplink.bridge:
        if vlan is not None:
            return NoWire(
                "Unsupported",
                f"{named} has VLAN {vlan}, and {at} reaches {physical} by uplink type Bridge, which is for "
                "untagged networks.",
            )
        return Wire("Bridge", uplink.bridge.name)
    if uplink.type == "Simulated":
        return Wire("Simulated", f"{physical}.{vlan}" if vlan else physical)
    return NoWire(
        "Unsupported", f"{named}: uplink type {uplink.type} of {at} is not honoured by this version; use Bridge."
    )


def _uplink(physical: str, host: HostSpec, cluster: HostClusterSpec) -> Uplink | None:
    """A Host's entry of the same name wins over its cluster's."""
    for uplinks in (host.uplinks, cluster.uplinks):
        for uplink in uplinks:
            if uplink.name == physical:
                return uplink
    return None
