"""What is around instances and volumes once all is healed: counts of parents, storage, networks, addresses."""

from collections.abc import Iterator

from tests.model.world import HOSTS, World, condition

WELL = ("Region", "Zone", "HostPod", "HostCluster", "Host", "StoragePool", "ImageStore", "Network", "Template")


def around(world: World) -> Iterator[str]:
    """What does not agree with the facts, each in a sentence."""
    for kind in WELL:
        for obj in world.store.all(kind):
            ready = condition(obj, "Ready")
            if ready.get("status") != "True":
                yield f"{kind} {obj['metadata']['name']} is {ready.get('reason')}: {ready.get('message')}"
    yield from _counts(world)
    yield from _addresses(world)


def _counts(world: World) -> Iterator[str]:
    placed = [
        ((i.get("status") or {}).get("placement") or {}).get("host")
        for i in world.store.all("Instance")
    ]  # fmt: skip
    wanted = {("Host", host): placed.count(host) for host in HOSTS}
    wanted |= {
        (kind, name): len([h for h in placed if h]) for kind, name in (("HostCluster", "sim-1"), ("Zone", "zone-1"))
    }
    for (kind, name), count in wanted.items():
        told = ((world.store.get(kind, name) or {}).get("status") or {}).get("instances")
        if told != count:
            yield f"{kind} {name} counts {told} instances, {count} are placed there"


def _addresses(world: World) -> Iterator[str]:
    """Each claim is that of a NIC that is declared, or of a machine that was left behind. One that waits to be started
    again gives back then what a NIC had that was removed meanwhile."""
    nics = {
        (i["metadata"]["uid"], nic["name"])
        for i in world.store.all("Instance")
        for nic in i["spec"].get("networks", ())
    }
    left = {domain.uuid for domain in world.orphans()}
    wait = {i["metadata"]["uid"] for i in world.store.all("Instance") if condition(i, "Ready").get("status") != "True"}
    for address in world.store.all("NetworkAddress"):
        claim = address["spec"]["claim"].get("instance")
        if (
            claim
            and (claim["uid"], claim["interface"]) not in nics
            and claim["uuid"] not in left
            and claim["uid"] not in wait
        ):
            yield f"NetworkAddress {address['metadata']['name']} is claimed by nobody's NIC ({claim})"
