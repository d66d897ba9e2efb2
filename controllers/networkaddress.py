"""The NetworkAddress kind: one address taken. The object's existence is the claim; this removes what nobody holds.

A claim of an Instance carries our finalizer from its creation and goes when that instance is gone or no longer uses
the address, so that a hand that deletes it cannot give one address to two guests.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from controllers.engine.base import Again, Cache, Key, NotYet, Obj, Reconciler, Refused, Services, Turn
from controllers.fleet.base import Fleet, answered
from controllers.logic import addresses
from controllers.logic.references import some
from crds.base import ADOPT
from crds.networkaddress import CLAIMED, AddressUser, InstanceClaim, NetworkAddressSpec, NetworkAddressStatus

AddressObj = Obj[NetworkAddressSpec, NetworkAddressStatus]
ORPHAN_AGAIN = 30.0
"""Seconds between looks whether an orphan is still there."""
MOST_WOKEN = 8
"""Instances that are woken when one address becomes free."""


class NetworkAddressReconciler(Reconciler[NetworkAddressSpec, NetworkAddressStatus]):
    """Claims without an instance are removed; reservations show who uses them."""

    kind = "NetworkAddress"
    indexes: Mapping[str, Callable[[AddressObj], Iterable[str]]] = {
        "claimed-by": lambda obj: [obj.spec.claim.instance.uid] if obj.spec.claim.instance else []
    }

    def __init__(self, services: Services, fleet: Fleet) -> None:
        self._services, self._fleet = services, fleet

    def references(self, obj: AddressObj) -> Iterable[Key]:
        yield Key("Network", obj.namespace, obj.spec.network_ref.name)
        claim, reserved = obj.spec.claim.instance, obj.spec.claim.reserved
        if claim:
            yield Key("Instance", claim.namespace, claim.name)
        if reserved and reserved.name:
            yield Key("Instance", reserved.namespace, reserved.name)

    async def reconcile(self, turn: Turn[NetworkAddressSpec, NetworkAddressStatus]) -> Again | None:
        obj = turn.obj
        user = user_of(self._services.cache, obj)
        if obj.deleting:
            return await self._delete(turn, user)
        orphan = None
        if obj.spec.claim.type == "Instance" and await self._abandoned(obj):
            orphan = self._orphan(obj) or self._unheard(obj)
            if orphan is None:
                await self._services.api.delete("NetworkAddress", obj.namespace, obj.name, obj.uid)
                return None
        await turn.ensure_finalizer()
        # Of a claim the spec says whose it is, and its status is from its creation on what it is to be.
        turn.status = NetworkAddressStatus(used_by=None if obj.spec.claim.instance else user)
        if orphan is not None:
            turn.conditions.set("Ready", "True", "HeldByOrphan", f"{orphan} It stays taken until then.")
            return Again(ORPHAN_AGAIN)
        self._check(obj)
        turn.conditions.set("Ready", "True", *_said(obj, user))
        return None

    def _check(self, obj: AddressObj) -> None:
        network = self._services.cache.get("Network", obj.namespace, obj.spec.network_ref.name)
        if network is None:
            name = obj.spec.network_ref.name
            raise Refused("NetworkNotFound", f"spec.networkRef: Network {obj.namespace}/{name} does not exist.")
        subnet = addresses.subnet_of(network.spec, obj.spec.address)
        if subnet is None:
            has = ", ".join(s.cidr for s in network.spec.ipam.subnets) if network.spec.ipam else "no subnet"
            raise Refused(
                "AddressOutsideNetwork",
                f"spec.address: {obj.spec.address} lies in no subnet of Network {network.name} ({has}).",
            )
        if not addresses.usable(subnet, obj.spec.address):
            raise Refused(
                "AddressNotUsable",
                f"spec.address: {obj.spec.address} is the network, broadcast or gateway address of {subnet.cidr}.",
            )

    async def _delete(
        self, turn: Turn[NetworkAddressSpec, NetworkAddressStatus], user: AddressUser | None
    ) -> Again | None:
        orphan = None if user else self._orphan(turn.obj)
        if orphan is not None:
            turn.conditions.set("Deleting", "True", "HeldByOrphan", f"{orphan} This object goes then.")
            return Again(ORPHAN_AGAIN)
        if user is None:
            await turn.release()
            self._wake_waiting(turn.obj)
            return None
        turn.status = NetworkAddressStatus(used_by=user, state="Deleting")
        message = f"Instance {user.namespace}/{user.name} uses {turn.obj.spec.address} on its NIC {user.interface}."
        turn.conditions.set("Deleting", "True", "InUse", f"{message} It goes when that NIC has let go of it.")
        turn.conditions.set("Ready", "True", "InUse", message)
        return None

    def _orphan(self, obj: AddressObj) -> str | None:
        """Of a claim whose instance is gone: what still uses the address (N2), in words. Raises NotYet."""
        claim = obj.spec.claim.instance
        network = self._services.cache.get("Network", obj.namespace, obj.spec.network_ref.name)
        if claim is None or claim.uuid is None or network is None or self._is_there(claim):
            return None
        if self._fleet.unasked(network.spec.zone_ref.name):
            raise NotYet(1.0)
        silent = self._fleet.unheard(claim.uuid)
        for host, facts in {**self._fleet.sightings(claim.uuid), **silent}.items():
            if facts.mark is not None and facts.mark.uid == claim.uid:
                whose = f"Instance {claim.namespace}/{claim.name}"
                waits = f", which does not answer (off for good: say so by its spec.outOfService), and {whose} is gone"
                said = waits if host in silent else f" whose {whose} is gone"
                return (
                    f"{obj.spec.address} is used by a machine on Host {host}{said}: apply it again with the annotation "
                    f"{ADOPT}={claim.uuid}, or remove the machine there."
                )
        return None

    def _unheard(self, obj: AddressObj) -> str | None:
        """Of a claim that its instance has not given back: hosts that may have its machine and do not tell."""
        claim = obj.spec.claim.instance
        network = self._services.cache.get("Network", obj.namespace, obj.spec.network_ref.name)
        zone = network.spec.zone_ref.name if network is not None and claim is not None else ""
        hosts = self._fleet.hosts_in_zone(zone) if zone else ()
        silent = sorted(h for h in hosts if not answered(self._services.cache, self._fleet, h))
        if claim is None or not silent:
            return None
        return (
            f"Instance {claim.namespace}/{claim.name} is gone, and its machine may use {obj.spec.address} on Host "
            f"{some(silent)}, not heard of now (off for good: say so by spec.outOfService there)."
        )

    def _wake_waiting(self, obj: AddressObj) -> None:
        """Who has waited longest for an address of its network looks at once; the others do by and by."""
        network = Key("Network", obj.namespace, obj.spec.network_ref.name)
        waiting = [
            i for i in self._services.cache.referrers(network, "Instance")
            if (i.condition("Ready") or {}).get("reason") in ("NoFreeAddress", "AddressTaken")
        ]  # fmt: skip
        for instance in sorted(waiting, key=lambda i: i.created_at)[:MOST_WOKEN]:
            self._services.enqueue(instance.key)

    async def _abandoned(self, obj: AddressObj) -> bool:
        """Whether its instance does not exist: asked live, because the cache may not have seen a new one yet."""
        claim = obj.spec.claim.instance
        assert claim is not None
        if self._is_there(claim):
            return False
        live = await self._services.api.get_live("Instance", claim.namespace, claim.name)
        return live is None or live["metadata"]["uid"] != claim.uid

    def _is_there(self, claim: InstanceClaim) -> bool:
        cached = self._services.cache.get("Instance", claim.namespace, claim.name)
        return cached is not None and cached.uid == claim.uid


def user_of(cache: Cache, obj: AddressObj) -> AddressUser | None:
    """The NIC that has the address: as its claim says, or of a reservation as its instance's status says. Pure."""
    claim, reserved = obj.spec.claim.instance, obj.spec.claim.reserved
    if claim:
        instance = cache.get("Instance", claim.namespace, claim.name)
        if instance is None or instance.uid != claim.uid or not _holds(instance, claim.interface, obj.spec.address):
            return None
        return AddressUser(namespace=claim.namespace, name=claim.name, uid=claim.uid, interface=claim.interface)
    network = Key("Network", obj.namespace, obj.spec.network_ref.name)
    for instance in cache.referrers(network, "Instance"):
        if reserved is None or instance.namespace != reserved.namespace:
            continue
        for nic in instance.status.networks:
            on = nic.network_ref and (nic.network_namespace or instance.namespace, nic.network_ref.name)
            if obj.spec.address in nic.addresses and on == (network.namespace, network.name):
                return AddressUser(
                    namespace=instance.namespace, name=instance.name, uid=instance.uid, interface=nic.name
                )
    return None


def _said(obj: AddressObj, user: AddressUser | None) -> tuple[str, str]:
    """Reason and message of Ready."""
    reserved = obj.spec.claim.reserved
    if reserved is None:
        return CLAIMED
    if user is not None:
        return (
            "InUse",
            f"{obj.spec.address} is used by Instance {user.namespace}/{user.name} on its NIC {user.interface}.",
        )
    whom = f"Instance {reserved.namespace}/{reserved.name}" if reserved.name else f"namespace {reserved.namespace}"
    return "Reserved", f"{obj.spec.address} is kept for {whom}."


def _holds(instance: Obj[Any, Any], interface: str, address: str) -> bool:
    """Held while the machine's NIC has it, and from the claim on until the NIC has got its addresses."""
    had = next((n.addresses for n in instance.status.networks if n.name == interface), ())
    if instance.problem:
        return True
    declared = any(n.name == interface for n in instance.spec.networks) and not instance.deleting
    return address in had or (declared and not had)
