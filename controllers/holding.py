"""Who has a Volume's disk and who may have it next, from what the API says and what the hosts show (safety.md D1).

Used by the Volume kind in each of its reconciles. What it remembers may be lost at any moment: then more is waited for.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from controllers.engine.base import Obj, Services
from controllers.fleet.base import Fleet, answered
from controllers.logic.attachments import Claimant, grant
from controllers.logic.pool import hosts_in_scope
from controllers.logic.references import some
from controllers.logic.volumes import VolumeObj, made_by, volume_uuid
from crds.volume import Attachment, VolumeStatus
from drivers.base import InstanceFacts, Power


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the status shall say, and why somebody waits. `waiting` are names of instances."""

    attachments: tuple[Attachment, ...]
    waiting: tuple[str, ...]
    hindrance: str = ""
    """In a person's words, when nobody holds it and it is given to nobody all the same."""
    undo: Callable[[], None] = lambda: None
    """To be called when the attachments could not be written: what is remembered of them is forgotten."""
    unsettled: bool = False
    """Something is waited for that wakes nobody when it comes: look again soon."""


class Holding:
    """One for all volumes; called from the engine's loop, awaits nothing."""

    def __init__(self, services: Services, fleet: Fleet) -> None:
        self._services, self._fleet = services, fleet
        self._fresh: set[str] = set()
        """Disks that this process made and gave to nobody yet."""
        self._known: dict[str, frozenset[str]] = {}
        """uid of a Volume → uids of its holders as this process left them, once it knew that there was no other. Where
        the status differs from it later, somebody else changed that: then it is not known any more."""

    def made(self, uid: str) -> None:
        """This process made the disk just now: nobody can have had it."""
        self._fresh.add(uid)

    def forget(self, uid: str) -> None:
        self._fresh.discard(uid)
        self._known.pop(uid, None)

    def decide(self, obj: VolumeObj, status: VolumeStatus, *, grants: bool = True) -> Held:
        """`grants` False: who has it keeps it or lets go, nobody new gets it."""
        claimants = self._claimants(obj, status)
        was = frozenset(a.uid for a in status.attachments)
        known = obj.uid in self._fresh or bool(was) or self._known.get(obj.uid) == was
        hindrance = ""
        if grants and any(c.declared and c.hosts and c.uid not in was for c in claimants):
            hindrance = self.hindrance(obj, status, {c.uid for c in claimants if c.attached} | was)
            known = known or not hindrance
        decision = grant(
            status.attachments, claimants, shareable=obj.spec.shareable, known=grants and not hindrance and known
        )
        undo = partial(self._forget_since, obj.uid, self._known.get(obj.uid), obj.uid in self._fresh)
        if known:
            self._known[obj.uid] = frozenset(a.uid for a in decision.attachments)
        if decision.attachments:
            self._fresh.discard(obj.uid)
        leaving = {c.uid for c in claimants if not c.declared} & {a.uid for a in decision.attachments}
        return Held(
            attachments=decision.attachments, waiting=decision.waiting, hindrance=hindrance, undo=undo,
            unsettled=bool(hindrance) or bool(leaving),
        )  # fmt: skip

    def hindrance(self, obj: VolumeObj, status: VolumeStatus, holders: Iterable[str] = ()) -> str:
        """Why the disk is given to nobody, or is not deleted, though the API names no holder: a domain that is not one
        of `holders` names it, or a host that may have one has not answered. "" when nothing is in the way."""
        if obj.uid in self._fresh or status.disk is None:
            return ""
        pool = self._services.cache.get("StoragePool", "", status.disk.pool)
        scope = hosts_in_scope(self._services.cache, pool) if pool is not None else []
        mine = set(holders)
        for host, facts in self._users(scope, _disk(obj, status)):
            if facts.mark is None or facts.mark.uid not in mine:
                return f"domain {facts.name} on {host} has the disk"
        if self._known.get(obj.uid) == frozenset(a.uid for a in status.attachments) or status.attachments:
            return ""
        silent = [host for host in scope if not answered(self._services.cache, self._fleet, host)]
        if not silent:
            return ""
        return (
            "it is not known who had the disk before this operator was started until "
            f"{some(silent)} has answered (powered off for good: say so by its spec.outOfService)"
        )

    def _forget_since(self, uid: str, known: frozenset[str] | None, fresh: bool) -> None:
        if known is None:
            self._known.pop(uid, None)
        else:
            self._known[uid] = known
        if fresh:
            self._fresh.add(uid)

    def declaring(self, obj: VolumeObj) -> list[Obj[Any, Any]]:
        """Instances that name it in their spec and are not being deleted."""
        return [i for i in self._instances(obj, obj.status).values() if _declares(i, obj)]

    def left_behind(self, obj: VolumeObj, status: VolumeStatus) -> str:
        """Why it is still held, in a person's words, by instances none of which names it any more."""
        for given in status.attachments:
            instance = self._services.cache.by_uid(given.uid)
            if instance is not None:
                seen = self._seen(instance, _disk(obj, status))
                where = f", whose machine has it on Host {', '.join(seen)}" if seen else ""
                return f"It is being detached from Instance {obj.namespace}/{given.instance}{where}."
            who = f"Instance {obj.namespace}/{given.instance} is gone"
            for host, name in self._left(given, obj, status):
                return f"{who}, and its machine {name} on Host {host} still has the disk: remove it there, or adopt it."
            silent = [host for host in given.hosts if not answered(self._services.cache, self._fleet, host)]
            if silent:
                return f"{who}, and its machine on Host {silent[0]}, which has not answered since, may have the disk."
        return ""

    def running(self, obj: VolumeObj, status: VolumeStatus) -> list[tuple[Obj[Any, Any], str]]:
        """Instances whose guest runs, or is paused, with the disk, each with the name of its entry."""
        found = []
        for instance in self._instances(obj, status).values():
            entry = next((v.name for v in instance.status.volumes if _names(v, obj.name) and v.attached), None)
            facts = self._fleet.sightings(instance.status.uuid or "").get(_host(instance))
            if entry and facts and facts.power in (Power.RUNNING, Power.PAUSED):
                found.append((instance, entry))
        return found

    # ------------------------------------------------------------ inside

    def _claimants(self, obj: VolumeObj, status: VolumeStatus) -> list[Claimant]:
        instances = self._instances(obj, status)
        given = {a.uid: a for a in status.attachments}
        found = [self._claimant(i, obj, status, given.get(uid)) for uid, i in instances.items()]
        return found + [self._gone(a, obj, status) for uid, a in given.items() if uid not in instances]

    def _instances(self, obj: VolumeObj, status: VolumeStatus) -> dict[str, Obj[Any, Any]]:
        """Those that name it, made it, or stand in its attachments, by uid."""
        cache = self._services.cache
        found = {i.uid: i for i in cache.referrers(obj.key, "Instance")}
        for uid in {a.uid for a in status.attachments} | ({obj.spec.made_by.uid} if obj.spec.made_by else set()):
            instance = cache.by_uid(uid)
            if instance is not None and instance.key.kind == "Instance":
                found[uid] = instance
        return found

    def _claimant(
        self, instance: Obj[Any, Any], obj: VolumeObj, status: VolumeStatus, given: Attachment | None
    ) -> Claimant:
        declared = _declares(instance, obj)
        seen = self._seen(instance, _disk(obj, status))
        says = any(_names(v, obj.name) and v.attached for v in instance.status.volumes)
        # It lets go of what it was given once its own turn has seen that it shall, and its hosts show that it has.
        keeps = given is not None and not declared and not (_settled(instance) and self._all_answered(given.hosts))
        placed, host = instance.status.placement, _host(instance)
        return Claimant(
            name=instance.name,
            uid=instance.uid,
            hosts=(host,) if host else seen[:2] or (given.hosts if given else ()),
            declared=declared,
            attached=says or bool(seen) or keeps,
            order=(placed.decided_at.isoformat() if placed and placed.decided_at else "", instance.uid),
        )

    def _gone(self, given: Attachment, obj: VolumeObj, status: VolumeStatus) -> Claimant:
        """An instance whose object is gone (its finalizer was removed by hand, or it has just ended): its machine may
        run on. It has the disk until its hosts have answered and no domain names the disk."""
        attached = bool(self._left(given, obj, status)) or not self._all_answered(given.hosts)
        return Claimant(
            name=given.instance, uid=given.uid, hosts=given.hosts, declared=False, attached=attached, order=("", "")
        )

    def _left(self, given: Attachment, obj: VolumeObj, status: VolumeStatus) -> list[tuple[str, str]]:
        """(host, name) of the machines that such an instance has left and that name the disk."""
        pool = self._services.cache.get("StoragePool", "", status.disk.pool) if status.disk else None
        scope = {*given.hosts, *(hosts_in_scope(self._services.cache, pool) if pool else ())}
        users = self._users(sorted(scope), _disk(obj, status))
        return [(host, facts.name) for host, facts in users if facts.mark is None or facts.mark.uid == given.uid]

    def _seen(self, instance: Obj[Any, Any], disk: str) -> tuple[str, ...]:
        """Hosts on which its machine was seen with the disk, running or not."""
        sightings = self._fleet.sightings(instance.status.uuid or "")
        return tuple(sorted(h for h, facts in sightings.items() if disk and _uses(facts, disk)))

    def _users(self, hosts: Iterable[str], disk: str) -> Iterable[tuple[str, InstanceFacts]]:
        """Every domain of the hosts' last listings, ours or not, that names the disk."""
        for host in hosts:
            view = self._fleet.view(host)
            for facts in (view.instances or {}).values() if view else ():
                if disk and _uses(facts, disk):
                    yield host, facts

    def _all_answered(self, hosts: Iterable[str]) -> bool:
        return all(answered(self._services.cache, self._fleet, host) for host in hosts)


def _disk(obj: VolumeObj, status: VolumeStatus) -> str:
    return f"{status.uuid or volume_uuid(obj)}-{status.disk.n}" if status.disk else ""


def _uses(facts: InstanceFacts, disk: str) -> bool:
    """Foreign domains name it by a path of the platform's."""
    return any(d.disk.rsplit("/", 1)[-1] == disk for d in facts.disks)


def _declares(instance: Obj[Any, Any], obj: VolumeObj) -> bool:
    if instance.deleting or instance.problem:
        return False
    mine = made_by(obj, instance)
    managed = {f"{instance.name}-{v.name}" for v in instance.spec.volumes if v.type == "Managed"}
    named = {v.volume.volume_ref.name for v in instance.spec.volumes if v.volume}
    return (mine and obj.name in managed) or obj.name in named


def _settled(instance: Obj[Any, Any]) -> bool:
    """Whether a turn of the instance has seen its spec, or its deletion, as it is now."""
    return not instance.problem and instance.status.observed_generation == instance.generation


def _host(instance: Obj[Any, Any]) -> str:
    placed = instance.status.placement
    return (placed.host or "") if placed else ""


def _names(entry: Any, volume: str) -> bool:
    return entry.volume_ref is not None and entry.volume_ref.name == volume
