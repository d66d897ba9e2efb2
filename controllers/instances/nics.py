"""The NICs of an instance: networks looked up, MAC addresses chosen for life, addresses claimed and given back.

The claim is a NetworkAddress object: creating it is what makes an address ours, so that no two instances get one,
whatever else goes wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from controllers.engine.base import Key, Obj, Refused
from controllers.instances.work import InstanceObj, Work
from controllers.logic import addresses, devices, identity
from controllers.logic.uplinks import NoWire, wire
from controllers.logic.visibility import visible
from crds.base import API_VERSION, FINALIZER, NameRef
from crds.instance import InstanceNetwork
from crds.instancestatus import NetworkState
from crds.network import Subnet
from drivers.base import NicAttachment

TRIES = 32
"""Addresses tried in one turn when others are quicker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """One entry of spec.networks, resolved. `attachment` is None while `problem` stands."""

    spec: InstanceNetwork
    state: NetworkState
    network: Obj[Any, Any] | None = None
    attachment: NicAttachment | None = None
    problem: tuple[str, str] | None = None


def nics_of(work: Work) -> tuple[Nic, ...]:
    """Every entry resolved from the cache. No address is claimed here."""
    kept = {n.name: n.slot for n in work.status.networks if n.slot is not None}
    slots = devices.choose_slots(sorted(n.name for n in work.spec.networks), kept)
    before = {n.name: n for n in work.status.networks}
    primary = _primary(work)
    found = []
    for entry in sorted(work.spec.networks, key=lambda n: n.name):
        network, problem = _network(work, entry)
        old = before.get(entry.name) or NetworkState(name=entry.name)
        state = old.model_copy(
            update={
                "network_ref": NameRef(name=entry.network_ref.name), "network_namespace": entry.network_ref.namespace,
                "mac_address": old.mac_address or _mac(work, entry.name), "slot": slots[entry.name],
                "primary": entry.name == primary,
                "addresses": old.addresses or _claimed(work, entry.name),
            }
        )  # fmt: skip
        attachment = None
        if network is not None and problem is None:
            attachment, problem = _attach(work, entry, network, state)
        found.append(Nic(spec=entry, state=state, network=network, attachment=attachment, problem=problem))
    return tuple(found)


def _network(work: Work, entry: InstanceNetwork) -> tuple[Obj[Any, Any] | None, tuple[str, str] | None]:
    field = f"spec.networks[{entry.name}].networkRef"
    namespace = entry.network_ref.namespace or work.obj.namespace
    network = work.cache.get("Network", namespace, entry.network_ref.name)
    if network is None or network.problem or not visible(work.cache, network, work.obj.namespace):
        return None, (
            "NetworkNotFound",
            (
                f"{field}: Network {namespace}/{entry.network_ref.name} does not exist or is not visible to namespace "
                f"{work.obj.namespace}."
            ),
        )
    if network.spec.zone_ref.name != work.spec.zone_ref.name:
        return network, (
            "NetworkInOtherZone",
            (
                f"{field}: Network {namespace}/{network.name} is in zone {network.spec.zone_ref.name}, the instance in "
                f"{work.spec.zone_ref.name}."
            ),
        )
    ready = network.condition("Ready") or {}
    if ready.get("status") != "True":
        why = f"{ready.get('reason', 'Pending')}: {ready.get('message') or 'not looked at yet'}"
        return network, ("WaitingForNetwork", f"{field} waits for Network {namespace}/{network.name}: {why}")
    return network, None


def _attach(
    work: Work, entry: InstanceNetwork, network: Obj[Any, Any], state: NetworkState
) -> tuple[NicAttachment | None, tuple[str, str] | None]:
    host = work.cache.get("Host", "", work.host)
    cluster = work.cache.get("HostCluster", "", host.spec.host_cluster_ref.name) if host else None
    if host is None or cluster is None:
        return None, ("HostNotFound", f"Host {work.host}, where it is placed, or its HostCluster does not exist.")
    named = f"spec.networks[{entry.name}]: Network {network.namespace}/{network.name}"
    found = wire(network.spec, host.spec, cluster.spec, named=named, at=f"Host {host.name}")
    if isinstance(found, NoWire):
        return None, (found.reason, found.message)
    uplink = network.name if found.type == "Simulated" and network.spec.type == "Simulated" else found.name
    nic = NicAttachment(
        name=entry.name, slot=state.slot or 0, mac=state.mac_address or "", uplink_type=found.type, uplink=uplink
    )
    return nic, None


def _primary(work: Work) -> str:
    """Named so, else the only NIC, else the only one whose network has a gateway."""
    entries = sorted(work.spec.networks, key=lambda n: n.name)
    for entry in entries:
        if entry.primary:
            return entry.name
    if len(entries) == 1:
        return entries[0].name
    routed = [e.name for e in entries if _has_gateway(_network(work, e)[0])]
    return routed[0] if len(routed) == 1 else ""


def check_primary(work: Work, nics: tuple[Nic, ...]) -> None:
    """Raises Refused when more than one network has a gateway and none is primary."""
    routed = [n.spec.name for n in nics if _has_gateway(n.network)]
    if len(routed) > 1 and not any(n.state.primary for n in nics):
        raise Refused(
            "PrimaryNeeded",
            f"spec.networks: {' and '.join(routed)} both have a gateway: set primary: true on the one whose "
            "gateway shall "
            "be the default route.",
            stalled=True,
        )


def _has_gateway(network: Obj[Any, Any] | None) -> bool:
    return bool(network and network.spec.ipam and any(s.gateway for s in network.spec.ipam.subnets))


def _mac(work: Work, name: str) -> str:
    """I2: derived from the UUID; the next where another instance has it already (checked over all we know)."""
    for attempt in range(16):
        mac = identity.mac_address(work.uuid, name, attempt)
        if all(o.uid == work.obj.uid for o in work.cache.indexed("mac", mac)):
            return mac
    raise Refused("NoMACAddress", f"spec.networks[{name}]: 16 MAC addresses derived from {work.uuid} are all taken.")


# ---------------------------------------------------------------- addresses


async def claim_addresses(work: Work, nics: tuple[Nic, ...]) -> None:
    """Claim what each of these NICs shall have, keeping what it has; the status says it at once. Raises Refused."""
    for nic in nics:
        ipam = nic.network.spec.ipam if nic.network else None
        wanted: list[str] = []
        if nic.network is not None and ipam is not None:
            _check_asked(nic)
            held = _held(work, nic)
            for subnet in ipam.subnets:
                asked = next(
                    (a for a in nic.spec.addresses if addresses.subnet_of(nic.network.spec, a) == subnet), None
                )
                mine = [a for a in held if addresses.subnet_of(nic.network.spec, a) == subnet]
                address = await _claim(work, nic, subnet, asked, mine)
                wanted += [address] if address else []
        state = nic.state.model_copy(update={"addresses": tuple(wanted)})
        others = tuple(n for n in work.status.networks if n.name != nic.spec.name)
        work.update(networks=tuple(sorted((*others, state), key=lambda n: n.name)))


async def keep_claims(work: Work) -> None:
    """Claim again what the instance has without a claim: adopted from an object that is gone, or taken away by hand.
    Nothing is asked of the API while every claim is there. Where another has it, an event says so, and it is tried
    again: two that use one address are for a person to part."""
    entries = {n.name: n for n in work.spec.networks}
    for state in work.status.networks:
        entry = entries.get(state.name)
        network = _network(work, entry)[0] if entry else None
        if entry is None or network is None:
            continue
        for address in state.addresses:
            known = work.cache.get("NetworkAddress", network.namespace, addresses.object_name(network.name, address))
            claim = known.spec.claim.instance if known else None
            if known is not None and (claim is None or claim.uid == work.obj.uid):
                continue
            nic = Nic(spec=entry, state=state, network=network)
            if claim is not None and claim.uuid == work.uuid:
                work.wake.append(1.0)  # Of the object that it was adopted from: that claim goes by itself.
                continue
            if not await _take(work, nic, address):
                text = f"NIC {state.name} has {address}, but {_taker(work, nic, address)}."
                work.turn.event("AddressTaken", text, warning=True)
                work.wake.append(5.0)


def _held(work: Work, nic: Nic) -> list[str]:
    """What the status says it has, then claims by the objects, so that a lost status finds them again."""
    claims = _claimed(work, nic.spec.name)
    before = next((n.addresses for n in work.status.networks if n.name == nic.spec.name), nic.state.addresses)
    return [*before, *(a for a in claims if a not in before)]


def _claimed(work: Work, name: str) -> tuple[str, ...]:
    """By the objects: what a process claimed, and started the guest with, that died before the status said so."""
    found = work.cache.indexed("claimed-by", work.obj.uid)
    return tuple(sorted(a.spec.address for a in found if a.spec.claim.instance.interface == name and not a.deleting))


def _check_asked(nic: Nic) -> None:
    assert nic.network is not None
    for address in nic.spec.addresses:
        subnet = addresses.subnet_of(nic.network.spec, address)
        field = f"spec.networks[{nic.spec.name}].addresses"
        where = f"Network {nic.network.namespace}/{nic.network.name}"
        if subnet is None:
            has = ", ".join(s.cidr for s in nic.network.spec.ipam.subnets)
            raise Refused("AddressOutsideNetwork", f"{field}: {address} lies in no subnet of {where} (it has {has}).")
        if not addresses.usable(subnet, address):
            raise Refused(
                "AddressNotUsable",
                f"{field}: {address} is the network, broadcast or gateway address of {subnet.cidr} of {where}.",
            )


async def _claim(work: Work, nic: Nic, subnet: Subnet, asked: str | None, mine: list[str]) -> str | None:
    """One address of the subnet. None: the NIC asks for none there and the subnet gives none by itself."""
    assert nic.network is not None
    if asked:
        if (asked in mine or _user(work, nic, asked) is None) and await _take(work, nic, asked):
            return asked
        raise Refused(
            "AddressTaken",
            f"spec.networks[{nic.spec.name}].addresses: {asked} is taken: {_taker(work, nic, asked)}. Choose another "
            "address, or leave it unset.",
            after=30.0,
        )
    for address in mine:
        if await _take(work, nic, address):
            return address
    if not subnet.ranges:
        return None
    taken = {a.spec.address for a in work.cache.referrers(nic.network.key, "NetworkAddress")}
    free = (a for a in addresses.free_addresses(subnet, taken, work.uuid) if _user(work, nic, a) is None)
    for tries, address in enumerate(free):
        if tries >= TRIES:
            raise Refused(
                "AddressesBusy", f"spec.networks[{nic.spec.name}]: others took {TRIES} addresses first.", after=1
            )
        if await _take(work, nic, address):
            return address
    raise Refused(
        "NoFreeAddress",
        f"spec.networks[{nic.spec.name}]: subnet {subnet.cidr} of Network "
        f"{nic.network.namespace}/{nic.network.name} has no "
        f"free address left ({len(taken)} taken): add a range to it, or delete instances that need none.",
        after=30.0,
    )


async def _take(work: Work, nic: Nic, address: str) -> bool:
    """Create the claim. True too when it is there already as ours, or reserved for us."""
    assert nic.network is not None
    network = nic.network
    name = addresses.object_name(network.name, address)
    known = work.cache.get("NetworkAddress", network.namespace, name)
    if known is not None and known.spec.claim.instance and not known.deleting:
        theirs = known.spec.claim.instance
        return bool(theirs.uid == work.obj.uid and theirs.interface == nic.spec.name)
    claim = {
        "namespace": work.obj.namespace, "name": work.obj.name, "uid": work.obj.uid, "interface": nic.spec.name,
        "uuid": work.uuid,
    }  # fmt: skip
    body = {
        "apiVersion": API_VERSION,
        "kind": "NetworkAddress",
        "metadata": {"name": name, "namespace": network.namespace, "finalizers": [FINALIZER]},
        "spec": {
            "networkRef": {"name": network.name},
            "address": address,
            "claim": {"type": "Instance", "instance": claim},
        },
    }
    if await work.tools.services.api.create("NetworkAddress", network.namespace, body) is not None:
        return True
    live = await work.tools.services.api.get_live("NetworkAddress", network.namespace, name)
    if live is None or live["metadata"].get("deletionTimestamp"):
        return False
    holder = live["spec"]["claim"]
    if holder["type"] == "Instance":
        return bool(holder["instance"]["uid"] == work.obj.uid and holder["instance"]["interface"] == nic.spec.name)
    reserved = holder.get("reserved") or {}
    mine = reserved.get("namespace") == work.obj.namespace and reserved.get("name", work.obj.name) == work.obj.name
    if not mine or address not in nic.spec.addresses or _user(work, nic, address) is not None:
        return False
    return _first(work, Key("NetworkAddress", network.namespace, name), address)


def _first(work: Work, reservation: Key, address: str) -> bool:
    """Whether no other one took the reservation before, who still wants it."""
    before = work.cache.by_uid(work.tools.reserved.get(reservation, ""))
    other = before is not None and before.uid != work.obj.uid
    if before is not None and other and any(address in n.addresses for n in before.spec.networks):
        return False
    work.tools.reserved[reservation] = work.obj.uid
    return True


def _user(work: Work, nic: Nic, address: str) -> InstanceObj | None:
    """Another instance that has it, with a claim or without: one that was just adopted gets its claim when that of the
    object before it is gone."""
    assert nic.network is not None
    for other in work.cache.indexed("address", address):
        for state in other.status.networks if other.uid != work.obj.uid else ():
            ref = state.network_ref
            on = ref and Key("Network", state.network_namespace or other.namespace, ref.name)
            if address in state.addresses and on == nic.network.key:
                return cast(InstanceObj, other)
    return None


def _taker(work: Work, nic: Nic, address: str) -> str:
    assert nic.network is not None
    name = addresses.object_name(nic.network.name, address)
    found = work.cache.get("NetworkAddress", nic.network.namespace, name)
    claim = found.spec.claim if found else None
    if claim and claim.instance:
        return f"Instance {claim.instance.namespace}/{claim.instance.name} has it (NetworkAddress {name})"
    if claim and claim.reserved:
        whose, instance = claim.reserved.namespace, claim.reserved.name
        whom = f"Instance {whose}/{instance}" if instance else f"namespace {whose}"
        return f"NetworkAddress {name} reserves it for {whom}"
    user = _user(work, nic, address)
    return f"{user.key} has it" if user else f"NetworkAddress {name} holds it"


async def give_back_unused(work: Work) -> None:
    """Delete the claims that no NIC needs any more. What a NIC still has on the machine stays."""
    used = {(n.name, a) for n in work.status.networks for a in n.addresses}
    await give_back(work, lambda interface, address: (interface, address) not in used)


async def give_back(work: Work, which: Callable[[str, str], bool]) -> None:
    """Delete those claims of this instance, by interface and address."""
    for claim in list(work.cache.indexed("claimed-by", work.obj.uid)):
        if not claim.deleting and which(claim.spec.claim.instance.interface, claim.spec.address):
            await work.tools.services.api.delete("NetworkAddress", claim.namespace, claim.name, claim.uid)


def network_states(work: Work, nics: tuple[Nic, ...], reported: dict[str, tuple[str, ...]]) -> tuple[NetworkState, ...]:
    """status.networks: every entry of the spec, and NICs the machine still has though their entry is gone."""
    there = {n.name for n in work.facts.nics} if work.facts else set()
    unseen = work.facts is None and not work.seen
    before = {n.name: n for n in work.status.networks}
    shown = []
    for nic in nics:
        had = before.get(nic.spec.name)
        attached = bool(had and had.attached) if unseen else nic.spec.name in there
        addresses_ = (had.addresses if had else ()) or nic.state.addresses
        update = {"attached": attached, "addresses": addresses_, "reported": reported.get(nic.spec.name, ())}
        shown.append(nic.state.model_copy(update=update))
    names = {n.name for n in shown}
    shown += [n for name, n in before.items() if name not in names and (name in there or (unseen and n.attached))]
    return tuple(sorted(shown, key=lambda n: n.name))
