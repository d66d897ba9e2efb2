"""What was declared is what runs, and nothing else: the API's objects against what is really on the platform.

Called at the end of each test of a fault, and by `bystanders`, which looks at what no test touches.
"""

import json
from collections import Counter
from typing import Any

from controllers.logic.identity import mac_address
from crds.base import parse_quantity
from drivers.base import Power
from drivers.marks import DiskMark, DiskState, InstanceMark, Unreadable, decode
from drivers.simulated.domains import Domain
from tests.cluster import OUR_KINDS, until
from tests.kinds.simcloud import SimCloud

Raw = dict[str, Any]
ELSEWHERE = "0f0f0f0f-1111-4222-8333-444455556666"
"""Another installation, whose marks name objects of the tests too."""


def assert_as_declared(cloud: SimCloud, deadline: float = 60.0) -> None:
    """Waits for it; fails with what differs. Looks at one namespace and the hosts and the pool of its cloud."""
    until(lambda: not differences(cloud), deadline, every=0.3, why=lambda: _tell(cloud))
    assert cloud.faults.violations() == ()
    guests_write(cloud)


def differences(cloud: SimCloud) -> list[str]:
    """Each in one sentence; none: as declared. OSError when the API server does not answer."""
    objects = objects_of(cloud, "Instance", "Volume", "NetworkAddress")
    machines = [d for d in cloud.faults.domains() if d.host in cloud.hosts and instance_mark(d, cloud.namespace)]
    volumes = {v["metadata"]["name"]: v for v in objects["Volume"]}
    found: list[str] = []
    for instance in objects["Instance"]:
        found += _of_instance(instance, machines, volumes, cloud.started_again)
    uids = {i["metadata"]["uid"] for i in objects["Instance"]}
    found += [f"machine {d.title} on {d.host} has no Instance" for d in machines if _uid(d) not in uids]
    found += [f"machine {u} is there {n} times" for u, n in Counter(d.uuid for d in machines).items() if n > 1]
    found += _disks(cloud, objects["Volume"], objects["Instance"])
    found += _addresses(objects["NetworkAddress"], objects["Instance"])
    return found


def guests_write(cloud: SimCloud) -> None:
    """On each disk of the namespace that is ready for the first time: from now on it must keep what is on it."""
    for disk in cloud.faults.disks(cloud.storage()):
        mark = volume_mark(disk.mark, cloud.namespace)
        if mark and mark.state is DiskState.READY and disk.present and disk.disk not in cloud.written:
            cloud.written[disk.disk] = f"written by the guest of {mark.name}, {len(cloud.written)}"
            cloud.faults.write_data(disk.address, disk.disk, cloud.written[disk.disk])


def objects_of(cloud: SimCloud, *kinds: str) -> dict[str, list[Raw]]:
    """All in the namespace, by kind. OSError when the API server does not answer."""
    plurals = ",".join(f"{OUR_KINDS[kind].plural}.stratiform.dev" for kind in kinds)
    answer = cloud.api.kubectl.attempt("get", plurals, "-n", cloud.namespace, "-o", "json", seconds=20)
    if answer.returncode:
        raise OSError(answer.stderr)
    found: dict[str, list[Raw]] = {kind: [] for kind in kinds}
    for item in json.loads(answer.stdout)["items"]:
        found[item["kind"]].append(item)
    return found


def _of_instance(instance: Raw, machines: list[Domain], volumes: dict[str, Raw], started_again: set[str]) -> list[str]:
    metadata, status = instance["metadata"], instance.get("status", {})
    name = f"Instance {metadata['name']}"
    if "deletionTimestamp" in metadata:
        return [f"{name} is being deleted"]
    ready = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), {})
    if ready.get("status") != "True" or ready.get("observedGeneration") != metadata["generation"]:
        return [f"{name} is not Ready: {ready.get('reason')}: {ready.get('message')}"]
    own = [d for d in machines if d.uuid == status["uuid"]]
    active = [d for d in own if d.active]
    runs = status.get("runCount", 0)
    if runs > 1 and metadata["name"] not in started_again:
        return [f"{name} was started {runs} times"]
    if instance["spec"]["runStrategy"] == "Halted":
        return [f"{name} is halted and runs on {d.host}" for d in active]
    if [(d.host, d.power) for d in active] != [(status["placement"]["host"], Power.RUNNING)]:
        return [
            f"{name} should run on {status['placement']['host']}, and does on {[(d.host, d.power) for d in active]}"
        ]
    return [f"{name} {what}" for what in (*_machine(instance, active[0]), *_devices(instance, active[0], volumes))]


def _machine(instance: Raw, domain: Domain) -> list[str]:
    """Its size, and what is written on it."""
    status, shape = instance["status"], domain.live or domain.shape
    restart = any(c["type"] == "RestartRequired" for c in status["conditions"])
    wanted = instance["spec"].get("resources") or status["resources"]
    mark = decode(domain.mark)
    assert isinstance(mark, InstanceMark)
    found = []
    if (shape.cpus, shape.memory) != (wanted["cpus"], parse_quantity(wanted["memory"])) and not restart:
        found.append(f"has {shape.cpus} CPUs and {shape.memory} bytes of memory instead of {wanted}")
    told = (status["runCount"], None, status["placement"]["sequence"])
    if (mark.run_count, mark.starting, mark.sequence) != told:
        found.append(f"says (runs, starting, sequence) {told}, its mark {mark}")
    return found


def _devices(instance: Raw, domain: Domain, volumes: dict[str, Raw]) -> list[str]:
    """Each NIC and disk of the spec and no other, the NIC with the address for life, the disk of the entry's Volume."""
    spec, status, shape = instance["spec"], instance["status"], domain.live or domain.shape
    found = []
    nics = {n.name: n.mac for n in shape.nics}
    if nics != {n["name"]: mac_address(status["uuid"], n["name"]) for n in spec.get("networks", ())}:
        found.append(f"has the NICs {nics}")
    if nics != {n["name"]: n.get("macAddress") for n in status.get("networks", ())}:
        found.append(f"has the NICs {nics} and says {status.get('networks')}")
    disks = {d.name: d.disk for d in shape.disks if d.device != "cdrom"}
    wanted = {
        entry["name"]: _disk_of(volumes.get(_volume_of(instance, entry), {}))
        for entry in spec.get("volumes", ())
        if entry["type"] != "CDROM"
    }
    if disks != wanted:
        found.append(f"has the disks {disks} instead of {wanted}")
    return found


def _volume_of(instance: Raw, entry: Raw) -> str:
    if entry["type"] == "Managed":
        return f"{instance['metadata']['name']}-{entry['name']}"
    return str(entry["volume"]["volumeRef"]["name"])


def _disk_of(volume: Raw) -> str:
    status = volume.get("status", {})
    return f"{status['uuid']}-{status['disk']['n']}" if "disk" in status else ""


def _disks(cloud: SimCloud, volumes: list[Raw], instances: list[Raw]) -> list[str]:
    found, wanted = [], set()
    users = {i["metadata"]["uid"]: i for i in instances}
    there = {d.disk: d for d in cloud.faults.disks(cloud.storage()) if volume_mark(d.mark, cloud.namespace)}
    for volume in volumes:
        name, status = f"Volume {volume['metadata']['name']}", volume.get("status", {})
        if "deletionTimestamp" in volume["metadata"]:
            found.append(f"{name} is being deleted")
            continue
        if not any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ())):
            found.append(f"{name} is not Ready")
            continue
        disk = _disk_of(volume)
        wanted.add(disk)
        if disk not in there or not there[disk].present:
            found.append(f"{name} has no disk {disk}")
        elif disk in cloud.written and there[disk].content != cloud.written[disk]:
            found.append(f"{name} has {there[disk].content!r} on its disk instead of {cloud.written[disk]!r}")
        holders = [a["uid"] for a in status.get("attachments", ())]
        if len(holders) > 1 or any(uid not in users for uid in holders):
            found.append(f"{name} is attached to {holders}")
        made_by = volume["spec"].get("madeBy", {}).get("uid")
        if made_by and made_by not in users and not holders:
            found.append(f"{name} was made by an Instance that is gone")
    for disk, row in there.items():
        mark = volume_mark(row.mark, cloud.namespace)
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


def instance_mark(domain: Domain, namespace: str) -> InstanceMark | None:
    try:
        mark = decode(domain.mark) if domain.mark else None
    except Unreadable:
        return None
    return mark if isinstance(mark, InstanceMark) and _is_of(mark, namespace) else None


def _uid(domain: Domain) -> str:
    mark = decode(domain.mark)
    return mark.uid if mark else ""


def volume_mark(text: str, namespace: str) -> DiskMark | None:
    try:
        mark = decode(text) if text else None
    except Unreadable:
        return None
    return mark if isinstance(mark, DiskMark) and _is_of(mark, namespace) and mark.kind == "Volume" else None


def _is_of(mark: InstanceMark | DiskMark, namespace: str) -> bool:
    return mark.namespace == namespace and mark.installation != ELSEWHERE


def _tell(cloud: SimCloud) -> str:
    try:
        return "\n".join(differences(cloud))
    except OSError as error:
        return str(error)
