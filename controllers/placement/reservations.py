"""What was decided and is not counted by anybody else yet, so that two decisions never give the same room away twice.

Kept by the scheduler, in memory only: a new leader begins with what the cache shows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from controllers.engine.base import Cache, Obj
from controllers.logic.capacity import counts

RESERVED_FOR = 120.0
"""Seconds after which a reservation that never became visible is dropped: its writer died or was refused."""
POOL_COUNTS_AFTER = 10.0
"""Seconds after which a pool has surely counted a disk that was made: it does so at most once in 5 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """For an Instance, or (host "") for a Volume by itself."""

    at: float
    host: str = ""
    cpus: int = 0
    memory: int = 0
    volumes: Mapping[str, int] = field(default_factory=dict)
    """Pool → bytes of volumes to be made there."""


class Reservations:
    """By uid. Times are seconds of the wall clock."""

    def __init__(self) -> None:
        self._held: dict[str, Reservation] = {}

    def put(self, uid: str, reservation: Reservation) -> None:
        self._held[uid] = reservation

    def drop(self, uid: str) -> None:
        self._held.pop(uid, None)

    def hosts(self, cache: Cache, now: float) -> Mapping[str, str]:
        """uid → host, of instances that the cache does not show there yet."""
        return {uid: r.host for uid, r in self._unseen(cache, now)}

    def on(self, host: str, cache: Cache, now: float) -> tuple[int, int]:
        """CPUs and bytes of memory that are reserved on the host beyond what the cache shows."""
        mine = [r for _, r in self._unseen(cache, now) if r.host == host]
        return sum(r.cpus for r in mine), sum(r.memory for r in mine)

    def promised(self, cache: Cache, now: float) -> Mapping[str, int]:
        """Pool → bytes of disks that are to be made there, or that the pool may not have counted yet."""
        found: dict[str, int] = {}
        held = {uid: r for uid, r in self._alive(cache, now) if r.volumes and self._uncounted(cache, uid, r, now)}
        for reservation in held.values():
            for pool, size in reservation.volumes.items():
                found[pool] = found.get(pool, 0) + size
        for name in (p.name for p in cache.all("StoragePool")):
            for volume in cache.indexed("to-make-on", name):
                made_by = volume.spec.made_by
                if volume.uid not in held and (made_by is None or made_by.uid not in held):
                    found[name] = found.get(name, 0) + (volume.spec.size or 0)
        return found

    # ------------------------------------------------------------ inside

    def _alive(self, cache: Cache, now: float) -> Iterable[tuple[str, Reservation]]:
        for uid, reservation in list(self._held.items()):
            if cache.by_uid(uid) is None or now > reservation.at + RESERVED_FOR:
                del self._held[uid]
            else:
                yield uid, reservation

    def _unseen(self, cache: Cache, now: float) -> Iterable[tuple[str, Reservation]]:
        for uid, reservation in self._alive(cache, now):
            if not reservation.host:
                continue
            if _counted(cache.by_uid(uid), reservation):
                # From now on the cache says how long it needs its room: an end gives it away at once (W7).
                self._held[uid] = replace(reservation, host="")
            else:
                yield uid, reservation

    def _uncounted(self, cache: Cache, uid: str, reservation: Reservation, now: float) -> bool:
        if now < reservation.at + POOL_COUNTS_AFTER:
            return True
        obj = cache.by_uid(uid)
        if obj is None or obj.key.kind != "Instance":
            return False
        names = (f"{obj.name}-{entry.name}" for entry in obj.spec.volumes if entry.type == "Managed")
        return not all(cache.get("Volume", obj.namespace, name) for name in names)


def _counted(instance: Obj[Any, Any] | None, reservation: Reservation) -> bool:
    """Whether the cache shows that the instance takes its room on that host, or has taken it and has ended since."""
    placed = instance.status.placement if instance is not None else None
    if instance is None or placed is None or placed.host != reservation.host:
        return False
    run = instance.status.last_run
    ended = run is not None and run.ended_at is not None and run.ended_at.timestamp() >= reservation.at
    return ended or counts(instance)
