"""XML from elements, never from strings. The two functions that every builder and reader of this package uses."""

from lxml import etree

from drivers.errors import Invalid

Element = etree._Element


def el(tag: str, *children: Element | None, text: str | None = None, **attributes: str | int | None) -> Element:
    """An element. Attributes and children that are None are left out; a trailing underscore frees Python's words
    (`type_`, `class_`)."""
    node = etree.Element(tag)
    for name, value in attributes.items():
        if value is not None:
            node.set(name.rstrip("_"), str(value))
    node.text = text
    node.extend(child for child in children if child is not None)
    return node


def to_text(node: Element) -> str:
    return etree.tostring(node, encoding="unicode", pretty_print=True)


def parse(text: str, what: str) -> Element:
    """The root element of libvirt's XML; entities and network access are off. Raises Invalid."""
    try:
        return etree.fromstring(
            text.encode(), etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
        )
    except etree.XMLSyntaxError as error:
        raise Invalid(f"{what} is not readable XML: {error}") from error


def find(node: Element, path: str) -> Element | None:
    return node.find(path)


def value(node: Element, path: str, attribute: str | None = None) -> str:
    """Text or attribute of the first match, "" when there is none."""
    found = node.find(path)
    if found is None:
        return ""
    return (found.text or "") if attribute is None else found.get(attribute, "")
