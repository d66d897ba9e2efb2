"""The bytes of a Template: looked at, fetched onto an image store, copied to a pool, taken away.

Used by the Template kind. The work is done by the driver of a host that reaches the place (design.md §5). Raises
Refused and DriverError.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from controllers.diskcalls import DiskCalls, PoolObj
from controllers.engine.base import Obj, Refused, Services
from controllers.fleet.base import Fleet
from controllers.jobs import Job
from controllers.logic.identity import object_uuid
from crds.template import TemplateSpec, TemplateStatus
from drivers.base import DiskDefinition, DiskFacts, ImageSource
from drivers.marks import DiskMark, DiskState

TemplateObj = Obj[TemplateSpec, TemplateStatus]
LongWork = Callable[[Job], Awaitable[DiskFacts]]
MAX_BYTES = 2**40
"""Largest image that is fetched, and the largest disk in one: 1 TiB and 16 TiB."""
MAX_VIRTUAL = 16 * 2**40


def image_disk(obj: TemplateObj) -> str:
    """Name of the image on every store and pool."""
    return f"{object_uuid(None, obj.uid)}-1"


class ImageWork:
    """Shared by all templates; keeps nothing."""

    def __init__(self, services: Services, fleet: Fleet, disks: DiskCalls, cluster_cidrs: tuple[str, ...]) -> None:
        """`cluster_cidrs`: ranges of the cluster itself, from which nothing is fetched."""
        self._services, self._fleet, self._disks, self._cluster_cidrs = services, fleet, disks, cluster_cidrs

    async def ready_on(self, place: PoolObj, obj: TemplateObj) -> DiskFacts | None:
        """The verified image there; None when there is none, or half of one."""
        facts = await self._disks.look(place, image_disk(obj))
        if facts is None or not facts.exists or facts.mark is None or facts.mark.uid != obj.uid:
            return None
        return facts if facts.mark.state is DiskState.READY else None

    def fetch(self, obj: TemplateObj, store: PoolObj) -> LongWork:
        """From its source onto a store, on the second lane of a host that reaches it."""
        http = obj.spec.source.http
        if http is None:
            raise Refused("Unsupported", f"spec.source.type: {obj.spec.source.type} is not done by this version.")
        allowed = store.spec.allowed_sources
        source = ImageSource(
            url=http.url, checksum=http.checksum, format=_format(obj), max_bytes=MAX_BYTES,
            max_virtual_size=MAX_VIRTUAL, allowed_cidrs=tuple(allowed.cidrs), allowed_hosts=tuple(allowed.hosts),
            forbidden_cidrs=self._cluster_cidrs,
        )  # fmt: skip
        definition, where, host = self._definition(obj), self._disks.definition(store), self._disks.host_for(store)

        async def work(job: Job) -> DiskFacts:
            return await self._fleet.long_call(
                host, "import_image", lambda e: e.storage.import_image(where, definition, source, job.note)
            )

        return work

    def copy(self, obj: TemplateObj, store: PoolObj, pool: PoolObj) -> LongWork:
        """From a store to a pool, by a host that reaches both. Raises Refused PoolNotReachable."""
        definition = self._definition(obj)
        source, target = self._disks.definition(store), self._disks.definition(pool)
        both = {h.name for h in store.status.hosts if h.state == "Ready"}
        try:
            # Not the first of them, for single calls: what builds a volume answers none about the pool (decision 27).
            host = self._disks.host_for(pool, prefer=sorted(both)[-1:], only=both)
        except Refused:
            text = f"No host reaches both {store.key} and {pool.key} now."
            raise Refused("PoolNotReachable", text, after=10.0) from None

        async def work(job: Job) -> DiskFacts:
            return await self._fleet.long_call(
                host, "copy_image", lambda e: e.storage.copy_image(source, definition.disk, target, definition)
            )

        return work

    async def drop(self, store: PoolObj, obj: TemplateObj) -> None:
        """Take the image off a store or pool, whole or half. Absent, or another's: nothing."""
        made_at = [c.finished_at for c in obj.status.stores if c.image_store == store.name]
        made_at += [c.finished_at for c in obj.status.pools if c.pool == store.name]
        # Where no copy is known of, one that was forgotten is an old one.
        when = made_at[0] if made_at else obj.created_at
        host, facts = await self._disks.find(store, image_disk(obj), when)
        if facts is not None and facts.mark is not None and facts.mark.uid == obj.uid:
            await self._disks.delete(store, image_disk(obj), obj.uid, by=host)

    def _definition(self, obj: TemplateObj) -> DiskDefinition:
        mark = DiskMark(
            installation=self._services.installation, kind="Template", namespace=obj.namespace, name=obj.name,
            uid=obj.uid, uuid=object_uuid(None, obj.uid), n=1, state=DiskState.CREATING, format=_format(obj),
        )  # fmt: skip
        return DiskDefinition(mark=mark, size=obj.status.virtual_size or 0, format=mark.format)


def _format(obj: TemplateObj) -> str:
    return (obj.spec.format or "Raw").lower()


def words(error: Exception) -> str:
    """For a copy's message."""
    text = error.message if isinstance(error, Refused) else str(error)
    return text[:1000]


def reason(error: Any) -> str:
    """For the condition: a source that refuses, or is refused, is named so."""
    return "SourceRefused" if error.reason in ("Invalid", "Rejected") else str(error.reason)
