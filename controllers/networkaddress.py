"""The NetworkAddress kind: one address taken. The object's existence is the claim; this removes what nobody holds.

A claim of an Instance carries our finalizer from its creation and goes when that instance is gone or no longer uses
the address, so that a hand that deletes it cannot give one address to two guests.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from controllers.engine.base import Again, Key, Obj, Reconciler, Refused, Services, Turn
from controllers.logic import addresses
from crds.networkaddress import AddressUser, NetworkAddressSpec, NetworkAddressStatus

AddressObj = Obj[NetworkAddressSpec, NetworkAddressStatus]


class NetworkAddressReconciler(Reconciler[NetworkAddressSpec, NetworkAddressStatus]):
    """Claims without an instance are removed; reservations show who uses them."""

    kind = "NetworkAddress"
    indexes: Mapping[str, Callable[[AddressObj], Iterable[str]]] = {
        "claimed-by": lambda obj: [obj.spec.claim.instance.uid] if obj.spec.claim.instance else []
    }

    def __init__(self, services: Services) -> None:
        self._services = services

    def references(self, obj: AddressObj) -> Iterable[Key]:
        yield Key("Network", obj.namespace, obj.spec.network_ref.name)
        claim = obj.spec.claim.instance
        if claim:
            yield Key("Instance", claim.namespace, claim.name)

    async def reconcile(self, turn: Turn[NetworkAddressSpec, NetworkAddressStatus]) -> Again | None:
        obj = turn.obj
        user = self._user(obj)
        if obj.deleting:
            return await self._delete(turn, user)
        if obj.spec.claim.type == "Instance" and await self._abandoned(obj):
            await self._services.api.delete("NetworkAddress", obj.namespace, obj.name, obj.uid)
            return None
        await turn.ensure_finalizer()
        turn.status = NetworkAddressStatus(used_by=user)
        self._check(obj)
        turn.conditions.set("Ready", "True", "Claimed", f"{obj.spec.address} is taken by this object.")
        turn.conditions.set("Synced", "True", "Reconciled")
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
        if user is None:
            await turn.release()
            return None
        turn.status = NetworkAddressStatus(used_by=user)
        message = f"Instance {user.namespace}/{user.name} uses {turn.obj.spec.address} on its NIC {user.interface}."
        turn.conditions.set("Deleting", "True", "InUse", message)
        turn.conditions.set("Ready", "True", "Claimed", message)
        turn.conditions.set("Synced", "True", "Reconciled")
        return None

    def _user(self, obj: AddressObj) -> AddressUser | None:
        """The instance whose NIC has the address: declared, or still as its status says."""
        network = Key("Network", obj.namespace, obj.spec.network_ref.name)
        claim = obj.spec.claim.instance
        if claim:
            instance = self._services.cache.get("Instance", claim.namespace, claim.name)
            holds = (
                instance is not None
                and instance.uid == claim.uid
                and _holds(instance, claim.interface, obj.spec.address)
            )
            user = AddressUser(namespace=claim.namespace, name=claim.name, uid=claim.uid, interface=claim.interface)
            return user if holds else None
        for instance in self._services.cache.referrers(network, "Instance"):
            for nic in instance.status.networks:
                if obj.spec.address in nic.addresses:
                    return AddressUser(
                        namespace=instance.namespace, name=instance.name, uid=instance.uid, interface=nic.name
                    )
        return None

    async def _abandoned(self, obj: AddressObj) -> bool:
        """Whether its instance does not exist: asked live, because the cache may not have seen a new one yet."""
        claim = obj.spec.claim.instance
        assert claim is not None
        cached = self._services.cache.get("Instance", claim.namespace, claim.name)
        if cached is not None and cached.uid == claim.uid:
            return False
        live = await self._services.api.get_live("Instance", claim.namespace, claim.name)
        return live is None or live["metadata"]["uid"] != claim.uid


def _holds(instance: Obj[Any, Any], interface: str, address: str) -> bool:
    """Held while the machine's NIC has it, and from the claim on until the NIC has got its addresses."""
    had = next((n.addresses for n in instance.status.networks if n.name == interface), ())
    declared = any(n.name == interface for n in instance.spec.networks) and not instance.deleting
    return address in had or (declared and not had)
