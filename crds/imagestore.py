"""ImageStore: secondary storage, where templates, ISOs, snapshots and backups lie."""

from typing import Annotated, ClassVar, Literal

from crds.base import (
    NFS,
    NO_NAMESPACES,
    AllocationState,
    AskedQuantity,
    Model,
    NameRef,
    NamespaceSet,
    SecretRef,
    StatusModel,
    at_least,
)
from crds.capacity import Capacity, Children, Summary
from crds.fields import Cidr, Identifier, Uuid, about, between, immutable, live, map_list, set_list, text
from crds.storagepool import PoolClaim, PoolHost

HostPattern = Annotated[str, text(253, least=1, pattern=r"^(\*\.)?[A-Za-z0-9]([-A-Za-z0-9.:]*[A-Za-z0-9])?$")]


class StoreScope(Model):
    """Whom the store serves."""

    UNION: ClassVar[dict[str, str]] = {"Zone": "zone_ref", "Region": "region_ref"}

    type: Annotated[Literal["Zone", "Region"], about("Zone: one data centre; Region: all of its zones.")]
    zone_ref: Annotated[NameRef | None, about("The Zone. With type Zone only.")] = None
    region_ref: Annotated[NameRef | None, about("The Region. With type Region only.")] = None


class S3(Model):
    """A bucket of an S3 service."""

    endpoint: Annotated[str, text(1024, least=8, pattern=r"^https?://"), live("URL of the service.")]
    bucket: Annotated[Identifier, live("Name of the bucket.")]
    prefix: Annotated[Identifier | None, live("What every key begins with. Unset: nothing.")] = None
    region: Annotated[Identifier | None, live("Region that requests are signed for. Unset: us-east-1.")] = None
    credentials_secret_ref: Annotated[
        SecretRef, live("Secret with the keys accessKey, secretKey and optionally ca.crt.")
    ]


class SimulatedStore(Model):
    """A store that exists only in the operator's simulation."""

    capacity: Annotated[AskedQuantity, at_least("1Mi"), live("Bytes that the simulated store has.")]
    address: Annotated[
        Identifier | None,
        live("Which simulated storage it is: two stores of one address are one. Unset: a storage of its own."),
    ] = None


class AllowedSources(Model):
    """From where templates may be fetched."""

    cidrs: Annotated[
        tuple[Cidr, ...],
        set_list(most=32),
        live(
            "Networks that a source's address must lie in, asked again after every redirect. Unset or empty: any but "
            "loopback, link-local and the cluster's own ranges."
        ),
    ] = ()
    hosts: Annotated[
        tuple[HostPattern, ...],
        set_list(most=32),
        live("Host names that a source's URL may have, *.example for all below one. Unset or empty: any."),
    ] = ()


class ImageStoreSpec(Model):
    """What a store is told."""

    UNION: ClassVar[dict[str, str]] = {"NFS": "nfs", "S3": "s3", "Simulated": "simulated"}

    uuid: Annotated[
        Uuid | None,
        immutable("Identity of the store, kept on it. Unset: from metadata.uid; set it to attach a known store again."),
    ] = None
    scope: Annotated[StoreScope, immutable("Whom the store serves.")]
    type: Annotated[
        Literal["NFS", "S3", "Simulated"],
        immutable("What kind of storage it is; exactly the member of that name goes with it."),
    ]
    nfs: Annotated[NFS | None, live("An NFS export. With type NFS.")] = None
    s3: Annotated[S3 | None, live("A bucket. With type S3.")] = None
    simulated: Annotated[SimulatedStore | None, live("A simulated store. With type Simulated.")] = None
    allocation_state: Annotated[AllocationState, live("Disabled: nothing new is kept here; what is here, stays.")] = (
        "Enabled"
    )
    allowed_sources: Annotated[AllowedSources, live("From where templates may be fetched into it.")] = AllowedSources()
    allow_imports: Annotated[
        NamespaceSet, live("Namespaces whose templates may be made from a file that lies on the store already.")
    ] = NO_NAMESPACES


class ImageStoreStatus(StatusModel):
    """What is known of a store."""

    uuid: Annotated[Uuid | None, about("Identity of the store. Unset: not decided yet.")] = None
    claim: Annotated[PoolClaim | None, about("The claim found or written on it. Unset: never reached.")] = None
    capacity: Annotated[Capacity | None, about("Bytes of the store. Unset: never reached.")] = None
    summary: Annotated[Summary | None, about("Capacity as the columns show it. Unset: never reached.")] = None
    hosts: Annotated[
        tuple[PoolHost, ...],
        map_list("name", most=256),
        about("How each host in scope sees it, those that do not reach it first where there are more than fit."),
    ] = ()
    host_count: Annotated[Children | None, about("Hosts in scope, and those that reach it. Unset: not counted.")] = None
    templates: Annotated[int | None, between(0, 2**31), about("Templates kept here. Unset: not counted yet.")] = None
    snapshots: Annotated[int | None, between(0, 2**31), about("Snapshots kept here. Unset: not counted yet.")] = None
