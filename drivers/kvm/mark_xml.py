"""Our mark inside a domain's <metadata> (safety.md M1). Used by the builder, by the reader and by WriteMark."""

from dataclasses import dataclass

from lxml import etree

from drivers import marks
from drivers.kvm.xml import Element, el

NAMESPACE = "https://stratiform.dev/xmlns/mark/1"
PREFIX = "stratiform"
_TAG = f"{{{NAMESPACE}}}mark"


@dataclass(frozen=True, slots=True)
class MarkRead:
    """`mark` None: unmarked, or of a format version that is somebody else's (M3); `unreadable`: ours, but damaged."""

    mark: marks.InstanceMark | None = None
    unreadable: bool = False


def mark_element(mark: marks.InstanceMark) -> Element:
    """The element that goes into <metadata>."""
    node = etree.Element(_TAG, nsmap={PREFIX: NAMESPACE})
    node.text = marks.encode(mark)
    return node


def bare_mark(mark: marks.InstanceMark) -> str:
    """The same as virDomainSetMetadata takes it: libvirt adds the namespace itself, and refuses one that is there."""
    return etree.tostring(el("mark", text=marks.encode(mark)), encoding="unicode")


def read_mark(domain: Element) -> MarkRead:
    """The mark of a domain's XML."""
    node = domain.find(f"metadata/{_TAG}")
    if node is None:
        return MarkRead()
    try:
        mark = marks.decode(node.text or "")
    except marks.Unreadable:
        return MarkRead(unreadable=True)
    if isinstance(mark, marks.DiskMark):
        return MarkRead(unreadable=True)
    return MarkRead(mark=mark)
