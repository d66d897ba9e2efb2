"""The StoragePool kind: primary storage, really reached from every host in its scope. Called by the engine.

Ready is True when at least one host that is up reaches it (`controllers.logic.reach` says why).
"""

from collections.abc import Iterable

from controllers.deletion import held_by_referrers, release_when_unreferenced
from controllers.engine.base import Again, Key, Obj, Reconciler, Services, Turn, default_signal
from controllers.logic.capacity import pool_capacity, summarise
from controllers.logic.rollup import EVERY, places_of_pool
from controllers.poolwork import PoolWork
from crds.capacity import Capacity
from crds.storagepool import StoragePoolSpec, StoragePoolStatus

PoolObj = Obj[StoragePoolSpec, StoragePoolStatus]
WAITS = 10.0


class StoragePoolReconciler(Reconciler[StoragePoolSpec, StoragePoolStatus]):
    kind = "StoragePool"
    roll_up = True

    def __init__(self, services: Services, work: PoolWork) -> None:
        self._services, self._work = services, work

    def references(self, obj: PoolObj) -> Iterable[Key]:
        yield self._work.scope_of(obj)

    def signal(self, obj: PoolObj) -> object:
        """With the hosts that reach it: placement looks at each."""
        total = obj.status.capacity.storage.total if obj.status.capacity and obj.status.capacity.storage else 0
        return (default_signal(obj), tuple((h.name, h.state) for h in obj.status.hosts), total)

    async def reconcile(self, turn: Turn[StoragePoolSpec, StoragePoolStatus]) -> Again | None:
        obj = turn.obj
        if not obj.deleting:
            await turn.ensure_finalizer()
        elif not held_by_referrers(turn, self._services, ready=False):
            again = await release_when_unreferenced(turn, self._services, lambda: self._work.disconnect(turn))
            self._wake_above(turn)
            return again
        self._work.check_alone(obj)
        self._work.check_scope(obj)
        volumes = [v for v in self._services.cache.referrers(obj.key, "Volume") if not v.problem]
        here = [v for v in volumes if v.status.disk is not None and v.status.disk.pool == obj.name]
        disks = frozenset(f"{v.status.uuid}-{v.status.disk.n}" for v in here if v.status.disk)
        reaches = self._work.reach(turn, disks)
        verdict, changes = self._work.told(turn, reaches)
        facts = self._work.facts(reaches)
        if facts is not None:
            promised = sum(max(v.status.size or 0, v.spec.size or 0) for v in here)
            capacity = Capacity(storage=pool_capacity(facts, obj.spec, promised))
            changes |= {"capacity": capacity, "summary": summarise(capacity)}
        found = self._work.disks(turn, reaches)
        if found is not None:
            lost, count = self._work.orphans(turn, found)
            changes |= {"orphans": lost, "orphan_count": count}
        turn.status = obj.status.model_copy(update={**changes, "volumes": len(here)})
        if turn.status.capacity != obj.status.capacity:
            self._wake_above(turn)
        return self._work.conclude(turn, verdict)

    def _wake_above(self, turn: Turn[StoragePoolSpec, StoragePoolStatus]) -> None:
        place = places_of_pool(self._services.cache, turn.obj)
        for above in (place.cluster, place.pod, place.zone, place.region):
            if above is not None:
                turn.wake(above.key, after=EVERY)
