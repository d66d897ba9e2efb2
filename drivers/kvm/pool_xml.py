"""The XML of storage pools and volumes: structure only. Used by `pools.py` and `disks.py`."""

from lxml import etree

from drivers.base import LocalSource, NFSSource, PoolDefinition, PoolSource
from drivers.errors import Unsupported
from drivers.kvm.xml import Element, el, value
from drivers.storage import sources

MOUNTS = "/var/lib/libvirt/stratiform"
_FS = "http://libvirt.org/schemas/storagepool/fs/1.0"


def pool_name(uuid: str) -> str:
    return f"stratiform-{uuid}"


def target_path(pool: PoolDefinition) -> str:
    """Where the pool's files are on every host. The mount is named by the pool's UUID (safety.md H3)."""
    if isinstance(pool.source, LocalSource):
        return sources.check_local(pool.source, pool.name).path
    return f"{MOUNTS}/{pool.uuid}"


def pool_element(pool: PoolDefinition) -> Element:
    """Raises Invalid (nonsense in the source) and Unsupported (types of later versions)."""
    match pool.source:
        case NFSSource():
            return _netfs(pool, sources.check_nfs(pool.source, pool.name))
        case LocalSource():
            return el(
                "pool",
                el("name", text=pool_name(pool.uuid)),
                el("uuid", text=pool.uuid),
                _target(target_path(pool)),
                type_="dir",
            )
    kind = type(pool.source).__name__.removesuffix("Source")
    raise Unsupported(
        f"StoragePool {pool.name}: type {kind} is not supported on KVM by this version; it has NFS and Local"
    )


def source_of(node: Element) -> tuple[str, ...]:
    """What identifies the storage behind a pool's XML, for comparing."""
    return (
        node.get("type", ""),
        value(node, "source/host", "name"),
        value(node, "source/dir", "path"),
        value(node, "target/path"),
        *sorted(o.get("name", "") for o in node.iterfind(f"{{{_FS}}}mount_opts/{{{_FS}}}option")),
    )


def same_storage(one: Element, other: Element) -> bool:
    """Whether two pools' XMLs mean the same export or folder."""
    return source_of(one)[:3] == source_of(other)[:3] and (
        one.get("type") != "dir" or value(one, "target/path") == value(other, "target/path")
    )


def describe(source: PoolSource) -> str:
    match source:
        case NFSSource():
            return f"{source.server}:{source.path}"
        case LocalSource():
            return source.path
    return type(source).__name__


def _netfs(pool: PoolDefinition, source: NFSSource) -> Element:
    node = etree.Element("pool", nsmap={"fs": _FS})
    node.set("type", "netfs")
    node.append(el("name", text=pool_name(pool.uuid)))
    node.append(el("uuid", text=pool.uuid))
    node.append(el("source", el("host", name=source.server), el("dir", path=source.path), el("format", type_="nfs")))
    node.append(_target(target_path(pool)))
    options = etree.SubElement(node, f"{{{_FS}}}mount_opts")
    for option in sources.nfs_options(source):
        etree.SubElement(options, f"{{{_FS}}}option").set("name", option)
    return node


def _target(path: str) -> Element:
    return el("target", el("path", text=path))


def volume_element(
    name: str,
    *,
    capacity: int,
    image_format: str,
    allocation: int | None = 0,
    base: str = "",
    base_format: str = "qcow2",
) -> Element:
    """A volume. `base` is written as it is: a bare file name stays relative, so that the chain survives another mount
    point. qcow2 gets compat 1.1, or libvirt makes version 2, which knows no bitmaps."""
    target = el(
        "target",
        el("format", type_=image_format),
        el("permissions", el("mode", text="0600")),
        el("compat", text="1.1") if image_format == "qcow2" else None,
    )
    backing = None
    if base:
        backing = el("backingStore", el("path", text=base), el("format", type_=base_format))
    return el(
        "volume",
        el("name", text=name),
        el("capacity", text=str(capacity), unit="bytes"),
        el("allocation", text=str(allocation), unit="bytes") if allocation is not None else None,
        target,
        backing,
        type_="file",
    )
