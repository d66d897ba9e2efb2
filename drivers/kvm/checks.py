"""The look before each action: is what is there what the caller believes (safety.md W4, N1)? Used by `actions.py`.

libvirt has no compare-and-swap, so between the look and the act a moment remains; the mark and the order of writes are
made for that (W6).
"""

from typing import Any

from drivers.base import Expected
from drivers.errors import NotOurs
from drivers.kvm.domain_read import DomainRead, read_domain
from drivers.kvm.xml import parse
from drivers.marks import InstanceMark


def read_now(domain: Any) -> DomainRead:
    """Live when it runs, else the definition. Raises libvirtError."""
    return read_domain(parse(domain.XMLDesc(0), "a domain"))


def our_mark(host: str, read: DomainRead, expected: Expected) -> InstanceMark:
    """The mark, if installation and uid are the expected ones whatever its sequence. Raises NotOurs."""
    at = f"Host {host}: instance {read.uuid} ({read.name})"
    if read.mark.unreadable:
        raise NotOurs(f"{at} carries a mark that cannot be read; it is left alone")
    mark = read.mark.mark
    if mark is None:
        raise NotOurs(f"{at} carries no mark of ours; it is left alone")
    if mark.installation not in expected.installations:
        raise NotOurs(f"{at} belongs to installation {mark.installation}; it is left alone")
    if mark.uid != expected.uid:
        raise NotOurs(
            f"{at} is marked as {mark.namespace}/{mark.name} with uid {mark.uid}, not {expected.uid}; it is left alone"
        )
    return mark


def expected_mark(host: str, read: DomainRead, expected: Expected) -> InstanceMark:
    """As `our_mark`, and of just the expected sequence. Raises NotOurs."""
    mark = our_mark(host, read, expected)
    if mark.sequence != expected.sequence:
        raise NotOurs(
            f"Host {host}: instance {read.uuid} ({read.name}) is there under placement sequence {mark.sequence}, "
            f"expected was {expected.sequence}; it is left alone"
        )
    return mark
