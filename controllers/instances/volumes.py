"""The Volumes that an instance makes: created with its placement, grown with its spec, left alone when an entry goes.

The Volume kind makes the disks and says who may have them; here only the objects are made, and patched where
spec.volumes says more than they do. Nobody else's Volume is ever patched (design.md §1).
"""

from collections.abc import Mapping
from typing import Any

from controllers.engine.base import Refused
from controllers.instances import shape
from controllers.instances.work import Work
from controllers.logic import identity
from controllers.logic.volumes import made_by
from controllers.placement.base import Decision
from crds.base import ADOPT, API_VERSION, FINALIZER, GROUP, VERSION, format_quantity
from crds.instance import InstanceVolume, ManagedVolume
from crds.instancestatus import DetachedVolume

MOST_DETACHED = 32


async def make_missing(work: Work, pools: Mapping[str, str]) -> None:
    """Create the Volume of each managed entry that has none. `pools`: as the scheduler decided just now; empty when
    the decision is older (a restart in between): then it is asked again. Raises Refused."""
    missing = [e for e in work.spec.volumes if e.type == "Managed" and _absent(work, e)]
    if not missing:
        return
    if any(e.name not in pools and not _asked_pool(e) for e in missing):
        pools = {**_decide_pools(work), **pools}
    for entry in missing:
        body = _body(work, entry, _asked_pool(entry) or pools.get(entry.name, ""))
        await work.tools.services.api.create("Volume", work.obj.namespace, body)


def _absent(work: Work, entry: InstanceVolume) -> bool:
    return work.cache.get("Volume", work.obj.namespace, shape.volume_name(work.obj.name, entry)) is None


def _asked_pool(entry: InstanceVolume) -> str:
    ref = entry.managed.storage_pool_ref if entry.managed else None
    return ref.name if ref else ""


def _decide_pools(work: Work) -> Mapping[str, str]:
    """On the host of the placement; another host's pools would be of no use."""
    decision = work.tools.scheduler.decide_on(work.obj, work.host)
    if isinstance(decision, Decision):
        return decision.pools
    raise Refused(
        "NoStoragePool",
        f"Host {work.host} has no storage pool for the volumes still to be made: {decision.message}",
        after=30,
    )


def _body(work: Work, entry: InstanceVolume, pool: str) -> dict[str, Any]:
    """I2: its UUID derives from the instance's. With the finalizer, so that nothing is made without it."""
    managed = entry.managed
    assert managed is not None
    spec: dict[str, Any] = {
        "zoneRef": {"name": work.spec.zone_ref.name},
        "uuid": adopted_volume(work, entry.name) or identity.managed_volume_uuid(work.uuid, entry.name),
        "source": _source(work, managed),
        "madeBy": {"name": work.obj.name, "uid": work.obj.uid},
    }
    if managed.size is not None:
        spec["size"] = format_quantity(managed.size)
    if managed.volume_type_ref:
        spec["volumeTypeRef"] = {"name": managed.volume_type_ref.name}
    if pool:
        spec["storagePoolRef"] = {"name": pool}
    metadata: dict[str, Any] = {
        "name": shape.volume_name(work.obj.name, entry),
        "namespace": work.obj.namespace,
        "finalizers": [FINALIZER],
    }
    if adopted_volume(work, entry.name) or work.spec.uuid:
        metadata["annotations"] = {ADOPT: _adopts(work, entry, spec["uuid"])}
    return {"apiVersion": API_VERSION, "kind": "Volume", "metadata": metadata, "spec": spec}


def _adopts(work: Work, entry: InstanceVolume, uuid: str) -> str:
    """N2: the volumes of a machine that bore another name bear that name too."""
    mine = shape.volume_name(work.obj.name, entry)
    asked = work.obj.annotations.get(ADOPT, "").split("/")
    if len(asked) != 3 or asked[2] != work.uuid:
        return uuid
    theirs = shape.volume_name(asked[1], entry)
    return uuid if (asked[0], theirs) == (work.obj.namespace, mine) else f"{asked[0]}/{theirs}/{uuid}"


def adopted_volume(work: Work, entry: str) -> str | None:
    """UUID of the volume that an adopted machine's mark names for this entry (N2): it is taken with the machine."""
    mark = work.facts.mark if work.facts else None
    return next((uuid for name, uuid, _ in mark.volumes if name == entry), None) if mark else None


def _source(work: Work, managed: ManagedVolume) -> dict[str, Any]:
    ref = managed.template_ref
    if ref is None:
        return {"type": "Blank"}
    namespace = ref.namespace or work.obj.namespace
    return {"type": "Template", "template": {"templateRef": {"name": ref.name, "namespace": namespace}}}


async def carry_over(work: Work) -> None:
    """What of a managed entry is live is carried to the Volume it made: size, type, pool. Idempotent."""
    for entry in work.spec.volumes:
        volume = work.cache.get("Volume", work.obj.namespace, shape.volume_name(work.obj.name, entry))
        managed = entry.managed
        if managed is None or volume is None or volume.deleting:
            continue
        if not made_by(volume, work.obj):
            continue
        patch: dict[str, Any] = {}
        if managed.size is not None and managed.size > (volume.spec.size or volume.status.size or 0):
            patch["size"] = format_quantity(managed.size)
        if managed.volume_type_ref and managed.volume_type_ref != volume.spec.volume_type_ref:
            patch["volumeTypeRef"] = {"name": managed.volume_type_ref.name}
        if managed.storage_pool_ref and managed.storage_pool_ref != volume.spec.storage_pool_ref:
            patch["storagePoolRef"] = {"name": managed.storage_pool_ref.name}
        if patch:
            path = f"/apis/{GROUP}/{VERSION}/namespaces/{volume.namespace}/volumes/{volume.name}"
            await work.tools.services.api.merge_patch(path, {"spec": patch}, "Volume")


def note_detached(work: Work) -> None:
    """D3: Volumes that this instance made and whose entries are gone: listed, and never deleted with it."""
    entries = {shape.volume_name(work.obj.name, e) for e in work.spec.volumes if e.type == "Managed"}
    known = {d.volume_ref.name: d for d in work.status.detached_volumes}
    listed = []
    for volume in sorted(_made(work), key=lambda v: v.name):
        if volume.name in entries:
            continue
        entry = volume.name.removeprefix(f"{work.obj.name}-")
        fresh = DetachedVolume(name=entry, volume_ref={"name": volume.name}, detached_at=work.now)
        listed.append(known.get(volume.name, fresh))
    work.update(detached_volumes=tuple(listed[:MOST_DETACHED]))


def _made(work: Work) -> list[Any]:
    return [
        v
        for v in work.cache.referrers(work.obj.key, "Volume")
        if not v.problem and not v.deleting and made_by(v, work.obj)
    ]


async def delete_made(work: Work) -> None:
    """The instance's own deletion takes those with it whose entry says so; the rest stay with their objects (D3).

    A creation whose answer was lost may be unknown to the cache still, and nobody would look for its Volume once the
    instance is gone: so what the cache does not show is asked for live.
    """
    api = work.tools.services.api
    for entry in work.spec.volumes:
        if entry.managed is None or entry.managed.deletion_policy != "Delete":
            continue
        if _absent(work, entry):
            await api.get_live("Volume", work.obj.namespace, shape.volume_name(work.obj.name, entry))
        volume = work.cache.get("Volume", work.obj.namespace, shape.volume_name(work.obj.name, entry))
        if volume and not volume.problem and not volume.deleting and made_by(volume, work.obj):
            await api.delete("Volume", volume.namespace, volume.name, volume.uid)
