"""The ImageStore kind: secondary storage, really reached from the hosts that it serves. Called by the engine.

Template copies are kept on it by the Template kind; Ready as StoragePool's.
"""

from collections.abc import Iterable

from controllers.deletion import held_by_referrers, release_when_unreferenced
from controllers.engine.base import Again, Key, Obj, Reconciler, Services, Turn, default_signal
from controllers.fleet.base import Fleet
from controllers.logic.capacity import round_to_percent, summarise
from controllers.poolwork import PoolWork
from crds.base import FINALIZER
from crds.capacity import ByteAmounts, Capacity
from crds.imagestore import ImageStoreSpec, ImageStoreStatus
from drivers.base import PoolFacts

StoreObj = Obj[ImageStoreSpec, ImageStoreStatus]


class ImageStoreReconciler(Reconciler[ImageStoreSpec, ImageStoreStatus]):
    kind = "ImageStore"
    roll_up = True

    def __init__(self, services: Services, fleet: Fleet) -> None:
        self._services = services
        self._work = PoolWork(services, fleet)

    def references(self, obj: StoreObj) -> Iterable[Key]:
        yield self._work.scope_of(obj)

    def signal(self, obj: StoreObj) -> object:
        """With the hosts that reach it: a copy is made by one of them."""
        return (default_signal(obj), tuple((h.name, h.state) for h in obj.status.hosts))

    async def reconcile(self, turn: Turn[ImageStoreSpec, ImageStoreStatus]) -> Again | None:
        obj = turn.obj
        if not obj.deleting:
            if FINALIZER not in obj.finalizers:
                self._wake_templates()
            await turn.ensure_finalizer()
        elif not held_by_referrers(turn, self._services, ready=False):
            return await release_when_unreferenced(turn, self._services, lambda: self._work.disconnect(turn))
        self._work.check_alone(obj)
        self._work.check_scope(obj)
        copies = self._copies(obj)
        reaches = self._work.reach(turn, frozenset())
        verdict, changes = self._work.told(turn, reaches)
        facts = self._work.facts(reaches)
        if facts is not None:
            capacity = Capacity(storage=_amounts(facts, sum(copies.values())))
            changes |= {"capacity": capacity, "summary": summarise(capacity)}
        self._work.disks(turn, reaches)  # Its silence is how a dead server is noticed.
        snapshots = sum(1 for _ in self._services.cache.referrers(obj.key, "Snapshot"))
        turn.status = obj.status.model_copy(update={**changes, "templates": len(copies), "snapshots": snapshots})
        return self._work.conclude(turn, verdict)

    def _wake_templates(self) -> None:
        """A new store: those that shall have a copy on it refer to it from their next look on."""
        for template in self._services.cache.all("Template"):
            self._services.enqueue(template.key)

    def _copies(self, obj: StoreObj) -> dict[str, int]:
        """Template's uid → bytes, of those that are kept here."""
        found = {}
        for template in self._services.cache.all("Template"):
            for copy in template.status.stores:
                if copy.image_store == obj.name and copy.state == "Ready":
                    found[template.uid] = copy.bytes or 0
        return found


def _amounts(facts: PoolFacts, allocated: int) -> ByteAmounts:
    return ByteAmounts(
        total=facts.capacity,
        allocatable=facts.capacity,
        allocated=allocated,
        used=round_to_percent(max(facts.capacity - facts.available, 0), facts.capacity),
    )
