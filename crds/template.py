"""Template: a disk image or ISO that instances are made from, private or shared with other namespaces."""

from typing import Annotated, ClassVar, Literal

from crds.base import (
    OWN_NAMESPACE,
    Architecture,
    AskedQuantity,
    DiskFormat,
    Firmware,
    Model,
    NameRef,
    NamespaceSet,
    Quantity,
    StatusModel,
    Time,
    at_least,
)
from crds.fields import (
    Identifier,
    Name,
    Rule,
    Sentence,
    Word,
    about,
    between,
    immutable,
    live,
    map_list,
    set_list,
    text,
)

Checksum = Annotated[
    str,
    text(
        135,
        pattern=r"^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$",
        says="must be sha256: or sha512: and the file's hexadecimal digest in lower case, as sha256sum prints it",
    ),
]
Url = Annotated[
    str,
    text(
        2048,
        pattern=r"^https?://[^/@\s]+(/\S*)?$",
        says="must be an http:// or https:// URL without a user name, password or spaces",
        secret=True,
    ),
]
StoreFile = Annotated[str, text(255, least=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class HTTPSource(Model):
    """A file on a web server."""

    url: Annotated[Url, about("http:// or https:// URL without credentials; redirects are followed where allowed.")]
    checksum: Annotated[
        Checksum,
        about("sha256: or sha512: and the hexadecimal digest of the file: nothing is used before it is verified."),
    ]


class SnapshotSource(Model):
    """A Snapshot of the own namespace."""

    snapshot_ref: Annotated[NameRef, about("The Snapshot in the own namespace to copy.")]


class VolumeSource(Model):
    """A Volume of the own namespace."""

    volume_ref: Annotated[NameRef, about("The Volume in the own namespace to copy.")]


class FileSource(Model):
    """A file that lies on the image store already."""

    image_store_ref: Annotated[NameRef, about("The ImageStore it lies on, which must allow imports.")]
    name: Annotated[StoreFile, about("Name of the file in the store's folder `import`.")]
    checksum: Annotated[Checksum | None, about("As with HTTP. Unset: the bytes are taken as they lie.")] = None


class TemplateSource(Model):
    """Where the bytes come from."""

    UNION: ClassVar[dict[str, str]] = {"HTTP": "http", "Snapshot": "snapshot", "Volume": "volume", "File": "file"}

    type: Annotated[
        Literal["HTTP", "Snapshot", "Volume", "File"],
        about("Where the bytes come from; exactly the member of that name goes with it."),
    ]
    http: Annotated[HTTPSource | None, about("A file on a web server. With type HTTP.")] = None
    snapshot: Annotated[SnapshotSource | None, about("A Snapshot. With type Snapshot.")] = None
    volume: Annotated[VolumeSource | None, about("A Volume. With type Volume.")] = None
    file: Annotated[FileSource | None, about("A file on the image store. With type File.")] = None


class TemplateGuest(Model):
    """What is known of the system inside."""

    os_info: Annotated[
        Identifier | None, live("libosinfo's short id, such as debian12, that hardware is chosen by. Unset: linux2022.")
    ] = None
    firmware: Annotated[
        Firmware | None, live("Firmware that the image boots with, for instances that name none. Unset: BIOS.")
    ] = None


class TemplateSpec(Model):
    """What a template is told."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.type == 'ISO' || has(self.format) || !(self.source.type in ['HTTP', 'File'])",
            "must be set for a Disk from HTTP or File: QCOW2, Raw or VMDK",
            field="format",
        ),
        Rule(
            "self.type != 'ISO' || !has(self.format) || self.format == 'Raw'",
            "must be Raw or unset for an ISO",
            field="format",
        ),
    )

    type: Annotated[
        Literal["Disk", "ISO"], immutable("Disk: volumes are made from it; ISO: put into CD-ROM drives.")
    ] = "Disk"
    format: Annotated[
        DiskFormat | None,
        immutable(
            "Format of the bytes, checked before any tool opens them. Unset: Raw for an ISO, the source's own for "
            "Snapshot and Volume; needed for a Disk from HTTP or File."
        ),
    ] = None
    architecture: Annotated[Architecture, immutable("CPU architecture that the system inside runs on.")] = "x86_64"
    zones: Annotated[tuple[Name, ...], set_list(most=64), live("Zones that keep a copy. Unset or empty: all.")] = ()
    source: Annotated[TemplateSource, immutable("Where the bytes come from.")]
    minimum_size: Annotated[
        AskedQuantity | None,
        at_least("1Mi"),
        live("Smallest size of a volume made from it. Unset: the image's virtual size."),
    ] = None
    guest: Annotated[TemplateGuest | None, live("What is known of the system inside. Unset: nothing.")] = None
    visibility: Annotated[NamespaceSet, live("Namespaces whose instances may use it, beside its own.")] = OWN_NAMESPACE


class StoreCopy(Model):
    """The copy on one image store."""

    image_store: Annotated[Name, about("Name of the ImageStore that the copy lies on.")]
    state: Annotated[Word, about("Pending, Fetching, Verifying, Ready or Failed.")]
    percent: Annotated[int | None, between(0, 100), about("How much has come. Unset: the size is not known.")] = None
    bytes: Annotated[Quantity | None, about("Bytes that have come. Unset: none yet.")] = None
    message: Annotated[Sentence | None, about("What hinders it. Unset: nothing.")] = None
    finished_at: Annotated[Time | None, about("When it was verified. Unset: not yet.")] = None


class PoolCopy(Model):
    """The copy cached on one storage pool, that volumes are made from."""

    pool: Annotated[Name, about("Name of the StoragePool that the copy lies on.")]
    state: Annotated[Word, about("Pending, Copying, Ready or Failed.")]
    percent: Annotated[int | None, between(0, 100), about("How much is copied. Unset: not known.")] = None
    bytes: Annotated[Quantity | None, about("Bytes that it takes. Unset: none yet.")] = None
    message: Annotated[Sentence | None, about("What hinders it. Unset: nothing.")] = None
    finished_at: Annotated[Time | None, about("When it was complete. Unset: not yet.")] = None


class TemplateStatus(StatusModel):
    """What is known of a template."""

    stores: Annotated[
        tuple[StoreCopy, ...], map_list("imageStore", most=64), about("Copies on the image stores of its zones.")
    ] = ()
    pools: Annotated[
        tuple[PoolCopy, ...], map_list("pool", most=256), about("Copies cached on storage pools, one for each.")
    ] = ()
    percent: Annotated[
        int | None, between(0, 100), about("Progress of the slowest copy on a store. Unset: not known.")
    ] = None
    size: Annotated[Quantity | None, about("Bytes of the file. Unset: not fetched yet.")] = None
    virtual_size: Annotated[Quantity | None, about("Bytes of the disk inside. Unset: not inspected yet.")] = None
    format: Annotated[Word | None, about("Format that the bytes were found to have. Unset: not inspected yet.")] = None
    checksum: Annotated[Checksum | None, about("Digest of the bytes. Unset: not verified yet.")] = None
