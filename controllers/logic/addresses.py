"""Which addresses of a Network may be given out. Pure; called by the Network, NetworkAddress and Instance kinds."""

import ipaddress
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise

from crds.network import NetworkSpec, Subnet

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
MAX_PROBES = 65536
"""Addresses looked at in one search: an IPv6 range can hold more than anyone can walk."""


@dataclass(frozen=True, slots=True)
class RangeProblem:
    """A range whose end lies before its start: CEL cannot order addresses, so the controller says it."""

    field: str
    message: str


def object_name(network: str, address: str) -> str:
    """Name of the NetworkAddress that claims `address`: IPv6 in full form, dots and colons as dashes."""
    full = ipaddress.ip_address(address).exploded
    return f"{network}.{full.replace('.', '-').replace(':', '-')}"


def problems(spec: NetworkSpec) -> list[RangeProblem]:
    """What the schema could not refuse: backward and overlapping ranges, overlapping subnets."""
    found: list[RangeProblem] = []
    subnets = spec.ipam.subnets if spec.ipam else ()
    nets = [ipaddress.ip_network(s.cidr) for s in subnets]
    for i, subnet in enumerate(subnets):
        for other in range(i):
            if nets[i].version == nets[other].version and nets[i].overlaps(nets[other]):
                found.append(
                    RangeProblem(f"spec.ipam.subnets[{subnet.cidr}]", f"overlaps with subnet {subnets[other].cidr}")
                )
        spans = sorted(_span(r.start, r.end) for r in subnet.ranges)
        for start, end in spans:
            if end < start:
                first, last = _text(start, nets[i].version), _text(end, nets[i].version)
                found.append(
                    RangeProblem(
                        f"spec.ipam.subnets[{subnet.cidr}].ranges", f"the range {first} - {last} ends before it starts"
                    )
                )
        for (_, end), (start, _) in pairwise(spans):
            if start <= end:
                found.append(
                    RangeProblem(
                        f"spec.ipam.subnets[{subnet.cidr}].ranges", f"two ranges hold {_text(start, nets[i].version)}"
                    )
                )
    return found


def usable(subnet: Subnet, address: str) -> bool:
    """Whether a guest may have it: in the subnet, and neither its network, broadcast nor gateway address."""
    net, ip = ipaddress.ip_network(subnet.cidr), ipaddress.ip_address(address)
    if ip not in net or address == subnet.gateway:
        return False
    if net.version == 4 and net.prefixlen < 31:
        return ip not in (net.network_address, net.broadcast_address)
    return net.version == 4 or net.prefixlen >= 127 or ip != net.network_address


def subnet_of(spec: NetworkSpec, address: str) -> Subnet | None:
    """The subnet that an address lies in."""
    ip = ipaddress.ip_address(address)
    subnets = spec.ipam.subnets if spec.ipam else ()
    return next((s for s in subnets if ip in ipaddress.ip_network(s.cidr)), None)


def free_addresses(subnet: Subnet, taken: Collection[str], seed: str) -> Iterator[str]:
    """Free addresses of the subnet's ranges, each once, beginning at a place that `seed` (an instance's uid) gives,
    so that instances that look at the same time rarely want the same one. Looks at no more than MAX_PROBES."""
    spans = [_span(r.start, r.end) for r in subnet.ranges]
    version = ipaddress.ip_network(subnet.cidr).version
    total = sum(max(end - start + 1, 0) for start, end in spans)
    if not total:
        return
    begin = zlib.crc32(seed.encode()) % total
    for step in range(min(total, MAX_PROBES)):
        offset = (begin + step) % total
        for start, end in spans:
            size = max(end - start + 1, 0)
            if offset < size:
                address = _text(start + offset, version)
                if address not in taken and usable(subnet, address):
                    yield address
                break
            offset -= size


def room(subnet: Subnet) -> int:
    """How many addresses the ranges can give."""
    net = ipaddress.ip_network(subnet.cidr)
    count = sum(max(end - start + 1, 0) for start, end in (_span(r.start, r.end) for r in subnet.ranges))
    barred = {str(net.network_address), str(net.broadcast_address), subnet.gateway or ""}
    return max(count - sum(1 for a in barred if a and not usable(subnet, a) and in_ranges(subnet, a)), 0)


def in_ranges(subnet: Subnet, address: str) -> bool:
    """Whether the address is one of those given out by themselves."""
    value = int(ipaddress.ip_address(address))
    return any(start <= value <= end for start, end in (_span(r.start, r.end) for r in subnet.ranges))


def _span(start: str, end: str) -> tuple[int, int]:
    return int(ipaddress.ip_address(start)), int(ipaddress.ip_address(end))


def _text(value: int, version: int) -> str:
    return str(ipaddress.IPv4Address(value) if version == 4 else ipaddress.IPv6Address(value))
