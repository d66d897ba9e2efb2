"""The Network kind: whether it may lie where it says, and how full it is. Called by the engine."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from controllers.deletion import release_when_unreferenced
from controllers.engine.base import Again, Key, Obj, Reconciler, Refused, Services, Turn
from controllers.logic import addresses
from controllers.logic.inheritance import allows
from controllers.logic.visibility import came_late
from controllers.networkaddress import user_of
from crds.network import NetworkSpec, NetworkStatus, SubnetUse
from crds.zone import PhysicalNetwork, ZoneSpec

NetworkObj = Obj[NetworkSpec, NetworkStatus]
RIVALS = 30.0
"""Seconds until a wire that somebody else has is asked for again; its going wakes at once."""


def _wire(obj: NetworkObj) -> Iterable[str]:
    physical = obj.spec.physical
    if physical:
        yield f"{obj.spec.zone_ref.name}/{physical.network}/{physical.vlan or 0}"


class NetworkReconciler(Reconciler[NetworkSpec, NetworkStatus]):
    """Grants of the zone, one Network per physical network and VLAN, and the addresses counted."""

    kind = "Network"
    roll_up = True
    indexes: Mapping[str, Callable[[NetworkObj], Iterable[str]]] = {"wire": _wire}

    def __init__(self, services: Services) -> None:
        self._services = services

    def references(self, obj: NetworkObj) -> Iterable[Key]:
        yield Key("Zone", "", obj.spec.zone_ref.name)
        yield Key("Namespace", "", obj.namespace)

    def signal(self, obj: NetworkObj) -> object:
        """Not with its labels and annotations: nobody goes by them."""
        ready = obj.condition("Ready") or {}
        return (obj.generation, obj.deleting, ready.get("status"), ready.get("reason"))

    async def reconcile(self, turn: Turn[NetworkSpec, NetworkStatus]) -> Again | None:
        obj = turn.obj
        if obj.deleting:
            self._count(turn)
            again = await release_when_unreferenced(turn, self._services)
            for rival in self._rivals(obj):
                self._services.enqueue(rival.key)
            return again
        await turn.ensure_finalizer()
        self._count(turn)
        self._tell_reservations(obj)
        self._check(obj)
        turn.conditions.set("Ready", "True", "Granted", "Instances may use it.")
        turn.conditions.set("Synced", "True", "Reconciled")
        return None

    def _check(self, obj: NetworkObj) -> None:
        zone = self._services.cache.get("Zone", "", obj.spec.zone_ref.name)
        if zone is None or came_late(obj, zone):
            how = "does not exist" if zone is None else "is being deleted"
            raise Refused("ZoneNotFound", f"spec.zoneRef: Zone {obj.spec.zone_ref.name} {how}.")
        if obj.spec.physical:
            self._check_grant(obj, zone)
            self._check_wire(obj, zone)
        found = addresses.problems(obj.spec)
        if found:
            raise Refused("BadRanges", " ".join(f"{p.field} {p.message}." for p in found[:4]), stalled=True)

    def _check_grant(self, obj: NetworkObj, zone: Obj[ZoneSpec, Any]) -> None:
        physical = obj.spec.physical
        assert physical is not None
        wire = next((p for p in zone.spec.physical_networks if p.name == physical.network), None)
        if wire is None:
            names = ", ".join(sorted(p.name for p in zone.spec.physical_networks)) or "none"
            raise Refused(
                "NotGranted",
                f"spec.physical.network: Zone {zone.name} has no physical network {physical.network}; it has: {names}.",
            )
        labels = self._services.cache.namespace_labels(obj.namespace) or {}
        if wire.namespaces is None or not allows(wire.namespaces, "", obj.namespace, labels):
            raise Refused(
                "NotGranted",
                f"spec.physical.network: Zone {zone.name} does not grant {physical.network} to namespace "
                f"{obj.namespace}: its administrator adds it to "
                f"spec.physicalNetworks[{physical.network}].namespaces.",
            )
        if not _carries(wire, physical.vlan):
            asked = f"VLAN {physical.vlan}" if physical.vlan else "untagged use"
            granted = ", ".join([*(["untagged"] if wire.untagged else []), *wire.vlans]) or "nothing"
            raise Refused(
                "NotGranted",
                f"spec.physical.vlan: {asked} of {physical.network} is not granted by Zone {zone.name}: it grants "
                f"{granted}.",
            )

    def _check_wire(self, obj: NetworkObj, zone: Obj[ZoneSpec, Any]) -> None:
        """One Network a wire: who has it keeps it, else the oldest. One that was not granted the wire holds nothing."""
        first = min((obj, *self._rivals(obj)), key=lambda o: self._rank(o, zone))
        if first.uid != obj.uid:
            physical = obj.spec.physical
            asked = f"VLAN {physical.vlan}" if physical and physical.vlan else "the untagged part"
            raise Refused(
                "VLANTaken",
                f"spec.physical: {asked} of {physical.network if physical else ''} is Network "
                f"{first.namespace}/{first.name} already: share that one by its visibility, or take another VLAN.",
                after=RIVALS,
            )

    def _rivals(self, obj: NetworkObj) -> list[NetworkObj]:
        return [
            o for wire in _wire(obj) for o in self._services.cache.indexed("wire", wire)
            if o.uid != obj.uid and not o.problem
        ]  # fmt: skip

    def _rank(self, obj: NetworkObj, zone: Obj[ZoneSpec, Any]) -> tuple[bool, bool, str, str]:
        try:
            self._check_grant(obj, zone)
        except Refused:
            return (True, True, "", obj.uid)
        return (False, not (obj.is_true("Ready") or obj.deleting), obj.created_at.isoformat(), obj.uid)

    def _tell_reservations(self, obj: NetworkObj) -> None:
        """A reservation shows who uses it, and instances that begin to are none of its references."""
        for address in self._services.cache.referrers(obj.key, "NetworkAddress"):
            if (
                address.spec.claim.reserved is not None
                and user_of(self._services.cache, address) != address.status.used_by
            ):
                self._services.enqueue(address.key)

    def _count(self, turn: Turn[NetworkSpec, NetworkStatus]) -> None:
        obj, cache = turn.obj, self._services.cache
        taken = [a.spec.address for a in cache.referrers(obj.key, "NetworkAddress")]
        instances = sum(1 for _ in cache.referrers(obj.key, "Instance"))
        ipam = obj.spec.ipam
        physical = obj.spec.physical
        uses = []
        for subnet in ipam.subnets if ipam else ():
            inside = [a for a in taken if addresses.subnet_of(obj.spec, a) == subnet]
            free = addresses.room(subnet) - sum(1 for a in inside if addresses.in_ranges(subnet, a))
            uses.append(SubnetUse(cidr=subnet.cidr, allocated=len(inside), available=max(free, 0)))
        allocated, available = sum(u.allocated for u in uses), sum(u.available for u in uses)
        turn.status = NetworkStatus(
            vlan=physical.vlan if physical else None,
            allocated=allocated if ipam else None,
            available=available if ipam else None,
            summary=f"{allocated}/{allocated + available}" if ipam else None,
            subnets=tuple(uses),
            instances=instances,
        )


def _carries(wire: PhysicalNetwork, vlan: int | None) -> bool:
    if vlan is None:
        return bool(wire.untagged)
    for span in wire.vlans:
        first, _, last = span.partition("-")
        if int(first) <= vlan <= int(last or first):
            return True
    return False
