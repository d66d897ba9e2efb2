"""The Network kind: whether it may lie where it says, and how full it is. Called by the engine."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from controllers.deletion import release_when_unreferenced
from controllers.engine.base import Again, Key, Obj, Reconciler, Refused, Services, Turn
from controllers.logic import addresses
from controllers.logic.inheritance import allows
from crds.network import NetworkSpec, NetworkStatus, SubnetUse
from crds.zone import PhysicalNetwork, ZoneSpec

NetworkObj = Obj[NetworkSpec, NetworkStatus]


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

    async def reconcile(self, turn: Turn[NetworkSpec, NetworkStatus]) -> Again | None:
        obj = turn.obj
        if obj.deleting:
            return await release_when_unreferenced(turn, self._services)
        await turn.ensure_finalizer()
        self._count(turn)
        self._check(obj)
        turn.conditions.set("Ready", "True", "Granted", "Instances may use it.")
        turn.conditions.set("Synced", "True", "Reconciled")
        return None

    def _check(self, obj: NetworkObj) -> None:
        zone = self._services.cache.get("Zone", "", obj.spec.zone_ref.name)
        if zone is None:
            raise Refused("ZoneNotFound", f"spec.zoneRef: Zone {obj.spec.zone_ref.name} does not exist.")
        if obj.spec.physical:
            self._check_grant(obj, zone)
            self._check_wire(obj)
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
                f"{obj.namespace}: "
                f"its administrator adds it to spec.physicalNetworks[{physical.network}].namespaces.",
            )
        if not _carries(wire, physical.vlan):
            asked = f"VLAN {physical.vlan}" if physical.vlan else "untagged use"
            granted = ", ".join([*(["untagged"] if wire.untagged else []), *wire.vlans]) or "nothing"
            raise Refused(
                "NotGranted",
                f"spec.physical.vlan: {asked} of {physical.network} is not granted by Zone {zone.name}: it grants "
                f"{granted}.",
            )

    def _check_wire(self, obj: NetworkObj) -> None:
        rivals = [o for wire in _wire(obj) for o in self._services.cache.indexed("wire", wire) if o.uid != obj.uid]
        older = [o for o in rivals if (o.created_at, o.uid) < (obj.created_at, obj.uid)]
        if older:
            first = min(older, key=lambda o: (o.created_at, o.uid))
            raise Refused(
                "VLANTaken",
                f"spec.physical: Network {first.namespace}/{first.name} has this physical network and VLAN already; "
                "share that one by its visibility, or take another VLAN.",
            )

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
