"""What was declared is what runs, and nothing else: the API's objects against what is really on the platform.

Called at the end of each test of a fault.
"""

import json
from collections import Counter
from typing import Any

from drivers.base import Power
from drivers.marks import DiskMark, DiskState, InstanceMark, Unreadable, decode
from drivers.simulated.domains import Domain
from tests.cluster import until
from tests.kinds.simcloud import SimCloud

Raw = dict[str, Any]


def assert_as_declared(cloud: SimCloud, deadline: float = 60.0) -> None:
    """Waits for it; fails with what differs. Looks at one namespace and the hosts and the pool of its cloud."""
    until(lambda: not differences(cloud), deadline, every=0.3, why=lambda: _tell(cloud))
    assert cloud.faults.violations() == ()


def differences(cloud: SimCloud) -> list[str]:
    """Each in one sentence; none: as declared. OSError when the API server does not answer."""
    objects = _objects(cloud)
    machines = [d for d in cloud.faults.domains() if d.host in cloud.hosts and _mark_of(d, cloud.namespace)]
    found: list[str] = []
    for instance in objects["Instance"]:
        found += _of_instance(instance, machines)
    uids = {i["metadata"]["uid"] for i in objects["Instance"]}
    found += [f"machine {d.title} on {d.host} has no Instance" for d in machines if _uid(d) not in uids]
    found += [f"machine {u} is there {n} times" for u, n in Counter(d.uuid for d in machines).items() if n > 1]
    found += _disks(cloud, objects["Volume"], objects["Instance"])
    found += _addresses(objects["NetworkAddress"], objects["Instance"])
    return found


def _objects(cloud: SimCloud) -> dict[str, list[Raw]]:
    kinds = "instances.stratiform.dev,volumes.stratiform.dev,networkaddresses.stratiform.dev"
    answer = cloud.api.kubectl.attempt("get", kinds, "-n", cloud.namespace, "-o", "json", seconds=20)
    if answer.returncode:
        raise OSError(answer.stderr)
    found: dict[str, list[Raw]] = {"Instance": [], "Volume": [], "NetworkAddress": []}
    for item in json.loads(answer.stdout)["items"]:
        found[item["kind"]].append(item)
    return found


def _of_instance(instance: Raw, machines: list[Domain]) -> list[str]:
    metadata, status = instance["metadata"], instance.get("status", {})
    name = f"Instance {metadata['name']}"
    if "deletionTimestamp" in metadata:
        return [f"{name} is being deleted"]
    ready = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), {})
    if ready.get("status") != "True" or ready.get("observedGeneration") != metadata["generation"]:
        return [f"{name} is not Ready: {ready.get('reason')}: {ready.get('message')}"]
    own = [d for d in machines if d.uuid == status["uuid"]]
    active = [d for d in own if d.active]
    if instance["spec"]["runStrategy"] == "Halted":
        return [f"{name} is halted and runs on {d.host}" for d in active]
    if [(d.host, d.power) for d in active] != [(status["placement"]["host"], Power.RUNNING)]:
        return [
            f"{name} should run on {status['placement']['host']}, and does on {[(d.host, d.power) for d in active]}"
        ]
    wanted = instance["spec"].get("resources", {}).get("cpus")
    restart = any(c["type"] == "RestartRequired" for c in status["conditions"])
    shape = active[0].live or active[0].shape
    if wanted and shape.cpus != wanted and not restart:
        return [f"{name} has {shape.cpus} CPUs instead of {wanted}"]
    if len(shape.nics) != len(instance["spec"].get("networks", ())):
        return [f"{name} has {len(shape.nics)} NICs"]
    if len(shape.disks) < len([v for v in instance["spec"].get("volumes", ()) if v["type"] != "CDROM"]):
        return [f"{name} has {len(shape.disks)} disks"]
    return []


def _disks(cloud: SimCloud, volumes: list[Raw], instances: list[Raw]) -> list[str]:
    found, wanted = [], set()
    users = {i["metadata"]["uid"]: i for i in instances}
    there = {d.disk: d for d in cloud.faults.disks(cloud.storage()) if _disk_mark(d.mark, cloud.namespace)}
    for volume in volumes:
        name, status = f"Volume {volume['metadata']['name']}", volume.get("status", {})
        if "deletionTimestamp" in volume["metadata"]:
            found.append(f"{name} is being deleted")
            continue
        if not any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ())):
            found.append(f"{name} is not Ready")
            continue
        disk = f"{status['uuid']}-{status['disk']['n']}"
        wanted.add(disk)
        if disk not in there or not there[disk].present:
            found.append(f"{name} has no disk {disk}")
        holders = [a["uid"] for a in status.get("attachments", ())]
        if len(holders) > 1 or any(uid not in users for uid in holders):
            found.append(f"{name} is attached to {holders}")
        made_by = volume["spec"].get("madeBy", {}).get("uid")
        if made_by and made_by not in users and not holders:
            found.append(f"{name} was made by an Instance that is gone")
    for disk, row in there.items():
        mark = _disk_mark(row.mark, cloud.namespace)
        if disk not in wanted and mark and mark.state is not DiskState.RETAINED:
            found.append(f"disk {disk} of {mark.name} has no Volume")
    return found


def _addresses(claims: list[Raw], instances: list[Raw]) -> list[str]:
    found = []
    held = {
        (c["spec"]["claim"]["instance"]["uid"], c["spec"]["claim"]["instance"]["interface"], c["spec"]["address"])
        for c in claims
        if c["spec"]["claim"]["type"] == "Instance"
    }
    shown = {
        (i["metadata"]["uid"], n["name"], address)
        for i in instances
        for n in i.get("status", {}).get("networks", ())
        for address in n.get("addresses", ())
    }
    found += [f"address {address} is held by nobody ({uid})" for uid, _, address in held - shown]
    found += [f"address {address} is used without a claim" for _, _, address in shown - held]
    count = Counter(a for _, _, a in shown)
    return found + [f"address {address} is used {n} times" for address, n in count.items() if n > 1]


def _mark_of(domain: Domain, namespace: str) -> InstanceMark | None:
    try:
        mark = decode(domain.mark) if domain.mark else None
    except Unreadable:
        return None
    return mark if isinstance(mark, InstanceMark) and mark.namespace == namespace else None


def _uid(domain: Domain) -> str:
    mark = decode(domain.mark)
    return mark.uid if mark else ""


def _disk_mark(text: str, namespace: str) -> DiskMark | None:
    try:
        mark = decode(text) if text else None
    except Unreadable:
        return None
    return mark if isinstance(mark, DiskMark) and mark.namespace == namespace and mark.kind == "Volume" else None


def _tell(cloud: SimCloud) -> str:
    try:
        return "\n".join(differences(cloud))
    except OSError as error:
        return str(error)
