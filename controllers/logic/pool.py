"""What a StoragePool or ImageStore is to a driver, where it is to be reached, and when two of them are one. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from controllers.engine.base import Cache, Obj
from controllers.logic import inheritance
from controllers.logic.identity import object_uuid
from crds.base import NFS
from crds.imagestore import ImageStoreSpec
from crds.storagepool import StoragePoolSpec
from drivers.base import LocalSource, NFSSource, PoolDefinition, PoolSource, SimulatedSource

SUPPORTED = ("NFS", "Local", "Simulated")
"""Types of spec.type that this version connects; the others are Unsupported."""
PoolObj = Obj[Any, Any]
"""Of a StoragePool or an ImageStore."""


def pool_uuid(pool: PoolObj) -> str:
    """H3: the user's word, else from metadata.uid."""
    return object_uuid(pool.spec.uuid, pool.uid)


def pool_definition(pool: PoolObj, installation: str) -> PoolDefinition:
    """As the drivers take it. Only for a supported type."""
    source = source_of(pool.spec)
    if source is None:
        raise ValueError(f"{pool.key} is of type {pool.spec.type}, which has no driver")
    return PoolDefinition(
        uuid=pool_uuid(pool),
        name=pool.name,
        installation=installation,
        source=source,
        claimed=pool.status.claim is not None,
    )


def source_of(spec: StoragePoolSpec | ImageStoreSpec) -> PoolSource | None:
    """Where it lies; None for a type that is not supported."""
    if spec.type == "NFS" and spec.nfs is not None:
        return NFSSource(server=spec.nfs.server, path=_path(spec.nfs), options=spec.nfs.options)
    if isinstance(spec, StoragePoolSpec) and spec.type == "Local" and spec.local is not None:
        return LocalSource(path=spec.local.path)
    if spec.type == "Simulated" and spec.simulated is not None:
        return SimulatedSource(capacity=spec.simulated.capacity, address=spec.simulated.address or "")
    return None


def address(pool: PoolObj) -> str:
    """What two pools must not have in common: one export, one pool (H3). "" where there is no such thing."""
    spec = pool.spec
    if spec.nfs is not None:
        return f"nfs://{spec.nfs.server.lower()}{_path(spec.nfs)}"
    if spec.simulated is not None and spec.simulated.address:
        return f"simulated://{spec.simulated.address}"
    if isinstance(spec, StoragePoolSpec) and spec.local is not None and spec.scope.host_ref is not None:
        return f"local://{spec.scope.host_ref.name}{spec.local.path.rstrip('/')}"
    return ""


def twins(pool: PoolObj, others: Iterable[PoolObj]) -> list[PoolObj]:
    """Of the others, those that lie at the same address or have the same UUID."""
    mine, uuid = address(pool), pool_uuid(pool)
    return [
        other
        for other in others
        if other.uid != pool.uid
        and not other.problem
        and ((mine and address(other) == mine) or pool_uuid(other) == uuid)
    ]


def seniority(pool: PoolObj) -> tuple[datetime, bool, str]:
    """The least keeps what two pools claim: the older; of one second's, the one that was reached already."""
    return (pool.created_at, pool.status.claim is None, pool.name)


def hosts_in_scope(cache: Cache, pool: PoolObj) -> list[str]:
    """Names of the Hosts that are to reach it, in order."""
    return [host.name for host in inheritance.hosts_in_scope(cache, pool.spec.scope)]


def _path(nfs: NFS) -> str:
    return "/" + nfs.path.strip("/")
