"""InstanceType and VolumeType: offers that are counted, and kept while something refers to them. Called by the "
"engine."""

from controllers.deletion import release_when_unreferenced
from controllers.engine.base import Again, Reconciler, Services, Turn
from crds.instancetype import InstanceTypeSpec, InstanceTypeStatus
from crds.volumetype import VolumeTypeSpec, VolumeTypeStatus


class InstanceTypeReconciler(Reconciler[InstanceTypeSpec, InstanceTypeStatus]):
    """Ready as soon as it is seen."""

    kind = "InstanceType"
    roll_up = True

    def __init__(self, services: Services) -> None:
        self._services = services

    async def reconcile(self, turn: Turn[InstanceTypeSpec, InstanceTypeStatus]) -> Again | None:
        if turn.obj.deleting:
            return await release_when_unreferenced(turn, self._services)
        await turn.ensure_finalizer()
        count = sum(1 for _ in self._services.cache.referrers(turn.obj.key, "Instance"))
        turn.status = InstanceTypeStatus(instances=count)
        turn.conditions.set("Ready", "True", "Offered", "Instances may refer to it.")
        return None


class VolumeTypeReconciler(Reconciler[VolumeTypeSpec, VolumeTypeStatus]):
    """Ready as soon as it is seen."""

    kind = "VolumeType"
    roll_up = True

    def __init__(self, services: Services) -> None:
        self._services = services

    async def reconcile(self, turn: Turn[VolumeTypeSpec, VolumeTypeStatus]) -> Again | None:
        if turn.obj.deleting:
            return await release_when_unreferenced(turn, self._services)
        await turn.ensure_finalizer()
        count = sum(1 for _ in self._services.cache.referrers(turn.obj.key, "Volume"))
        turn.status = VolumeTypeStatus(volumes=count)
        turn.conditions.set("Ready", "True", "Offered", "Volumes may refer to it.")
        return None
