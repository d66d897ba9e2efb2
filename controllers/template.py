"""The Template kind: a verified copy on every image store of its zones, and a cached one on each pool that needs it.

Called by the engine. The bytes are fetched by the driver of a host that reaches the store (design.md §5); what is
here says which copies shall be there, starts the long work, and shows how far it is.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from controllers.deletion import held_by_referrers
from controllers.disks import DiskWork
from controllers.engine.base import Again, Key, Obj, Reconciler, Refused, Services, Turn
from controllers.fleet.base import Fleet
from controllers.jobs import Job, Jobs
from controllers.logic.identity import object_uuid
from controllers.logic.inheritance import hosts_in_scope, zone_of
from crds.base import shorten_quantity
from crds.template import PoolCopy, StoreCopy, TemplateSpec, TemplateStatus
from drivers.base import DiskDefinition, DiskFacts, ImageSource, PoolDefinition, Progress
from drivers.errors import BadImage, DriverError, Rejected
from drivers.marks import DiskMark, DiskState

TemplateObj = Obj[TemplateSpec, TemplateStatus]
MAX_BYTES = 2**40
"""Largest image that is fetched, and the largest disk in one: 1 TiB and 16 TiB."""
MAX_VIRTUAL = 16 * 2**40
PROGRESS_EVERY = 5.0
"""Seconds between two writes of progress (design.md §3)."""
RETRY_AFTER = 30.0


class TemplateReconciler(Reconciler[TemplateSpec, TemplateStatus]):
    """Never deployable when it failed; one copy a pool, not one an instance."""

    kind = "Template"
    indexes: Mapping[str, Callable[[TemplateObj], Iterable[str]]] = {
        "template-uuid": lambda obj: [object_uuid(None, obj.uid)]
    }

    def __init__(self, services: Services, fleet: Fleet, cluster_cidrs: tuple[str, ...]) -> None:
        """`cluster_cidrs`: ranges of the cluster itself, from which nothing is fetched."""
        self._services, self._fleet, self._cluster_cidrs = services, fleet, cluster_cidrs
        self._disks = DiskWork(services, fleet)
        self._jobs = Jobs(services)

    def references(self, obj: TemplateObj) -> Iterable[Key]:
        for store in self._services.cache.all("ImageStore"):
            yield store.key
        for zone in obj.spec.zones:
            yield Key("Zone", "", zone)

    def signal(self, obj: TemplateObj) -> object:
        ready = obj.condition("Ready") or {}
        copies = tuple((p.pool, p.state, (p.percent or 0) // 10) for p in obj.status.pools)
        visibility = obj.spec.visibility.model_dump_json()
        return (obj.generation, obj.deleting, ready.get("status"), ready.get("reason"), copies, visibility)

    async def reconcile(self, turn: Turn[TemplateSpec, TemplateStatus]) -> Again | None:
        obj = turn.obj
        if obj.deleting:
            return await self._delete(turn)
        await turn.ensure_finalizer()
        stores = self._stores(obj)
        copies = [await self._on_store(turn, store) for store in stores]
        turn.status = turn.status.model_copy(
            update={
                "stores": tuple(copies), "percent": min((c.percent or 0 for c in copies), default=None),
                "state": _worst(copies),
            }
        )  # fmt: skip
        self._judge(turn, copies)
        pools = [await self._on_pool(turn, pool, stores) for pool in self._needed_pools(obj)]
        turn.status = turn.status.model_copy(update={"pools": tuple(pools)})
        turn.conditions.set("Synced", "True", "Reconciled")
        busy = any(c.state in ("Fetching", "Copying") for c in (*copies, *pools))
        waiting = any(c.state == "Pending" for c in (*copies, *pools))
        return Again(PROGRESS_EVERY) if busy else Again(RETRY_AFTER) if waiting else None

    def _judge(self, turn: Turn[TemplateSpec, TemplateStatus], copies: list[StoreCopy]) -> None:
        failed = [c for c in copies if c.state == "Failed"]
        ready = [c for c in copies if c.state == "Ready"]
        if failed:
            turn.conditions.set("Ready", "False", "ImageRefused", failed[0].message or "")
            turn.conditions.set("Stalled", "True", "ImageRefused", "spec.source is immutable: make another Template.")
        elif ready and len(ready) == len(copies):
            turn.conditions.set("Ready", "True", "Verified", f"Verified on {', '.join(c.image_store for c in ready)}.")
        elif not copies:
            zones = ", ".join(turn.obj.spec.zones) or "any zone"
            turn.conditions.set(
                "Ready", "False", "NoImageStore",
                f"No ImageStore is there for {zones}: make one with spec.scope of that Zone or its Region.",
            )  # fmt: skip
        else:
            lacking = [c for c in copies if c.state != "Ready"]
            text = "; ".join(f"{c.image_store}: {c.message or c.state} ({c.percent or 0} %)" for c in lacking)
            turn.conditions.set("Ready", "False", lacking[0].state, text)

    # ------------------------------------------------------------ on image stores

    def _stores(self, obj: TemplateObj) -> list[Obj[Any, Any]]:
        """ImageStores that shall hold it: those of its zones, or all."""
        wanted = set(obj.spec.zones)
        found = []
        for store in self._services.cache.all("ImageStore"):
            if store.deleting or store.problem:
                continue
            zones = {zone_of(self._services.cache, h) for h in hosts_in_scope(self._services.cache, store.spec.scope)}
            if not wanted or wanted & zones or (store.spec.scope.zone_ref and store.spec.scope.zone_ref.name in wanted):
                found.append(store)
        return sorted(found, key=lambda s: s.name)

    async def _on_store(self, turn: Turn[TemplateSpec, TemplateStatus], store: Obj[Any, Any]) -> StoreCopy:
        """The copy there as it is now; begins to fetch it where it is not there."""
        had = next((c for c in turn.status.stores if c.image_store == store.name), None)
        if had is not None and had.state in ("Ready", "Failed"):
            return had
        job_name = f"{turn.obj.uid}/store/{store.uid}"
        job = self._jobs.get(job_name)
        try:
            if job is not None and job.running:
                return _fetching(store.name, job)
            if job is not None:
                return self._fetched(turn, store.name, self._jobs.collect(job_name))
            disk = f"{object_uuid(None, turn.obj.uid)}-1"
            facts = await self._disks.look(store, disk)
            if facts is not None and facts.exists and facts.mark is not None and facts.mark.state is DiskState.READY:
                return self._fetched(turn, store.name, facts)
            job = self._jobs.start(job_name, turn.obj.key, self._fetch(turn.obj, store))
            return _fetching(store.name, job)
        except Refused as error:
            return StoreCopy(image_store=store.name, state="Pending", message=error.message)
        except BadImage as error:
            turn.event("ImageRefused", str(error), warning=True)
            return StoreCopy(image_store=store.name, state="Failed", message=str(error))
        except DriverError as error:
            return StoreCopy(image_store=store.name, state="Pending", message=_words(error))

    def _fetched(self, turn: Turn[TemplateSpec, TemplateStatus], store: str, facts: DiskFacts) -> StoreCopy:
        turn.status = turn.status.model_copy(
            update={
                "virtual_size": facts.size, "size": facts.allocated, "checksum": self._checksum(turn.obj),
                "format": facts.mark.format if facts.mark else None,
            }
        )  # fmt: skip
        turn.event("Verified", f"{shorten_quantity(facts.allocated)} on {store}, checksum and format as declared.")
        return StoreCopy(
            image_store=store, state="Ready", percent=100, bytes=facts.allocated, finished_at=self._services.now()
        )

    def _fetch(self, obj: TemplateObj, store: Obj[Any, Any]) -> Callable[[Job], Any]:
        """The work of one copy: long, on the second lane of a host that reaches the store."""
        http = obj.spec.source.http
        if http is None:
            raise Refused("Unsupported", f"spec.source.type: {obj.spec.source.type} is not done by this version.")
        allowed = store.spec.allowed_sources
        source = ImageSource(
            url=http.url, checksum=http.checksum, format=(obj.spec.format or "Raw").lower(), max_bytes=MAX_BYTES,
            max_virtual_size=MAX_VIRTUAL, allowed_cidrs=tuple(allowed.cidrs), allowed_hosts=tuple(allowed.hosts),
            forbidden_cidrs=self._cluster_cidrs,
        )  # fmt: skip
        definition = self._definition(obj)
        where, host = self._disks.definition(store), self._disks.host_for(store)

        async def work(job: Job) -> DiskFacts:
            def note(progress: Progress) -> None:
                job.progress = progress

            return await self._fleet.long_call(
                host, "import_image", lambda e: e.storage.import_image(where, definition, source, note)
            )

        return work

    def _definition(self, obj: TemplateObj) -> DiskDefinition:
        mark = DiskMark(
            installation=self._services.installation, kind="Template", namespace=obj.namespace, name=obj.name,
            uid=obj.uid, uuid=object_uuid(None, obj.uid), n=1, state=DiskState.CREATING,
            format=(obj.spec.format or "Raw").lower(),
        )  # fmt: skip
        return DiskDefinition(mark=mark, size=obj.status.virtual_size or 0, format=mark.format)

    def _checksum(self, obj: TemplateObj) -> str | None:
        return obj.spec.source.http.checksum if obj.spec.source.http else None

    # ------------------------------------------------------------ on pools

    def _needed_pools(self, obj: TemplateObj) -> list[Obj[Any, Any]]:
        """Pools where a Volume is to be made from it, or a drive holds it; those that have it keep it."""
        cache = self._services.cache
        names = {p.pool for p in obj.status.pools if p.state == "Ready"}
        for volume in cache.referrers(obj.key, "Volume"):
            if volume.status.disk is None and not volume.deleting:
                if volume.status.pending:
                    names.add(volume.status.pending.pool)
                elif volume.spec.storage_pool_ref:
                    names.add(volume.spec.storage_pool_ref.name)
        for instance in cache.referrers(obj.key, "Instance"):
            if any(
                v.cdrom and v.cdrom.template_ref and v.cdrom.template_ref.name == obj.name
                for v in instance.spec.volumes
            ):
                names |= {v.status.disk.pool for v in cache.referrers(instance.key, "Volume") if v.status.disk} | {
                    v.status.disk.pool for v in _volumes_of(cache, instance) if v.status.disk
                }
        pools = (cache.get("StoragePool", "", name) for name in sorted(names))
        return [p for p in pools if p is not None and not p.deleting]

    async def _on_pool(
        self, turn: Turn[TemplateSpec, TemplateStatus], pool: Obj[Any, Any], stores: list[Obj[Any, Any]]
    ) -> PoolCopy:
        had = next((c for c in turn.status.pools if c.pool == pool.name), None)
        if had is not None and had.state == "Ready":
            return had
        job_name = f"{turn.obj.uid}/pool/{pool.uid}"
        job = self._jobs.get(job_name)
        try:
            if job is not None and job.running:
                return PoolCopy(pool=pool.name, state="Copying", percent=job.percent)
            facts = self._jobs.collect(job_name) if job is not None else None
            facts = facts or await self._ready_on(pool, f"{object_uuid(None, turn.obj.uid)}-1")
            if facts is not None:
                return PoolCopy(pool=pool.name, state="Ready", percent=100, bytes=facts.allocated)
            ready = {c.image_store for c in turn.status.stores if c.state == "Ready"}
            source = next((s for s in stores if s.name in ready), None)
            if source is None:
                return PoolCopy(pool=pool.name, state="Pending", message="waits for a verified copy on an image store")
            job = self._jobs.start(job_name, turn.obj.key, self._copy(turn, source, pool))
            return PoolCopy(pool=pool.name, state="Copying", percent=job.percent)
        except Refused as error:
            return PoolCopy(pool=pool.name, state="Pending", message=error.message)
        except Rejected as error:
            return PoolCopy(pool=pool.name, state="Pending", message=_words(error))
        except DriverError as error:
            return PoolCopy(pool=pool.name, state="Pending", message=_words(error))

    async def _ready_on(self, pool: Obj[Any, Any], disk: str) -> DiskFacts | None:
        facts = await self._disks.look(pool, disk)
        ready = facts is not None and facts.exists and facts.mark is not None and facts.mark.state is DiskState.READY
        return facts if ready else None

    def _copy(
        self, turn: Turn[TemplateSpec, TemplateStatus], store: Obj[Any, Any], pool: Obj[Any, Any]
    ) -> Callable[[Job], Any]:
        definition = self._definition(turn.obj)
        source, target = self._disks.definition(store), self._disks.definition(pool)
        both = {h.name for h in store.status.hosts if h.state == "Ready"}
        host = self._disks.host_for(pool, prefer=both)
        if host not in both:
            raise Refused("PoolNotReachable", f"No host reaches both {store.key} and {pool.key} now.")

        async def work(job: Job) -> DiskFacts:
            disk = definition.disk
            return await self._fleet.long_call(
                host, "copy_image", lambda e: e.storage.copy_image(source, disk, target, definition)
            )

        return work

    # ------------------------------------------------------------ the end

    async def _delete(self, turn: Turn[TemplateSpec, TemplateStatus]) -> Again | None:
        """D4: waits only for what is being made from it; then its copies go, but a cached one that clones need."""
        obj = turn.obj
        turn.status = turn.status.model_copy(update={"state": "Deleting"})
        turn.conditions.set("Ready", "False", "Deleting", "The template is being deleted.")
        turn.conditions.set("Synced", "True", "Reconciled")
        if held_by_referrers(turn, self._services, but=lambda other: not _needs(other, obj)):
            return None
        await turn.may_destroy()
        disk = f"{object_uuid(None, obj.uid)}-1"
        for name in [p.pool for p in obj.status.pools]:
            pool = self._services.cache.get("StoragePool", "", name)
            if pool is not None:
                await self._disks.drop_unused_base(pool, disk)
        for copy in obj.status.stores:
            store = self._services.cache.get("ImageStore", "", copy.image_store)
            if store is not None:
                await self._drop(store, disk, obj.uid)
        await turn.release()
        return None

    async def _drop(self, store: Obj[Any, Any], disk: str, uid: str) -> None:
        definition: PoolDefinition = self._disks.definition(store)
        await self._fleet.call(
            self._disks.host_for(store),
            "delete_disk",
            lambda e: e.storage.delete_disk(definition, disk, uid),
            changes=True,
        )


def _needs(other: Obj[Any, Any], template: TemplateObj) -> bool:
    """Whether an object that names the template cannot do without it: a disk not made yet, a disc in a drive."""
    if other.key.kind == "Volume":
        return other.status.disk is None and not other.deleting
    return any(
        v.cdrom and v.cdrom.template_ref and v.cdrom.template_ref.name == template.name for v in other.spec.volumes
    )


def _volumes_of(cache: Any, instance: Obj[Any, Any]) -> list[Obj[Any, Any]]:
    names = [v.volume_ref.name for v in instance.status.volumes if v.volume_ref]
    return [v for v in (cache.get("Volume", instance.namespace, n) for n in names) if v is not None]


def _fetching(store: str, job: Job) -> StoreCopy:
    progress = job.progress
    return StoreCopy(
        image_store=store, state="Fetching", percent=job.percent, bytes=progress.bytes if progress else None,
        message=f"{shorten_quantity(progress.bytes)} of {shorten_quantity(progress.total)}" if progress else None,
    )  # fmt: skip


def _worst(copies: list[StoreCopy]) -> str:
    order = ("Failed", "Pending", "Fetching", "Verifying", "Ready")
    return min((c.state for c in copies), key=order.index, default="Pending")


def _words(error: DriverError) -> str:
    return f"{error.reason}: {error}"[:1000]
