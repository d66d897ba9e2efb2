"""Whether what a Zone grants makes sense. Pure; CEL cannot compare the ends of a range."""

from collections.abc import Iterable
from itertools import pairwise

from crds.zone import PhysicalNetwork

VLAN_MOST = 4094


def vlan_problems(networks: Iterable[PhysicalNetwork]) -> list[str]:
    """In a person's words, one for each range that is none or that lies in another one."""
    found: list[str] = []
    for network in networks:
        field = f"spec.physicalNetworks[{network.name}].vlans"
        spans: list[tuple[int, int, str]] = []
        for text in network.vlans:
            first, _, last = text.partition("-")
            start, end = int(first), int(last or first)
            if start > end:
                found.append(f"{field}: {text} ends before it begins")
            elif end > VLAN_MOST:
                found.append(f"{field}: {text} goes beyond {VLAN_MOST}, the highest VLAN")
            else:
                spans.append((start, end, text))
        spans.sort()
        for (_, end, one), (start, _, other) in pairwise(spans):
            if start <= end:
                found.append(f"{field}: {one} and {other} overlap")
    return found
