"""The Snapshot kind, which this version does not make: the engine says so (`crds.unsupported`) before this is asked.

It is here so that a Snapshot can be deleted again.
"""

from controllers.engine.base import Again, Reconciler, Services, Turn
from crds.snapshot import SnapshotSpec, SnapshotStatus


class SnapshotReconciler(Reconciler[SnapshotSpec, SnapshotStatus]):
    """Nothing was made, so nothing holds it."""

    kind = "Snapshot"

    def __init__(self, services: Services) -> None:
        self._services = services

    async def reconcile(self, turn: Turn[SnapshotSpec, SnapshotStatus]) -> Again | None:
        if turn.obj.deleting:
            await turn.release()
        return None
