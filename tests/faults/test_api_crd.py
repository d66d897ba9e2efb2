"""A kind's CRD is deleted: nothing external is touched while it goes (N4), and what runs then holds its names."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from drivers.simulated.domains import Domain
from lab import install
from lab.kubectl import Kubectl
from tests.cluster import manifest, until
from tests.faults.apiworld import World
from tests.faults.declared import assert_as_declared
from tests.kinds.simcloud import SimCloud, attached, managed

CRDS = ("instances.stratiform.dev", "volumes.stratiform.dev")
NIC = {"name": "lan", "networkRef": {"name": "lan"}}


@pytest.fixture
def cloud(api: World) -> Iterator[SimCloud]:
    """Kinds are there again at the end, whatever the test did."""
    cloud = api.tenant()
    # Those of the world itself would be orphans afterwards.
    api.kubectl.run("delete", "instances", "--all", "-n", api.cloud.namespace)
    yield cloud
    until(lambda: _let_go(api.kubectl), 90.0)
    _install(api.kubectl)
    api.bystanders.adopt_again()


def test_n4_a_crd_that_is_deleted_touches_nothing_and_let_go_leaves_orphans_that_hold_their_names(
    api: World, cloud: SimCloud
) -> None:
    """Deleted, held, let go with `orphan`, applied again with the same manifests, adopted."""
    manifests = {name: _manifest(name) for name in ("web", "halted")}
    for name, spec in manifests.items():
        cloud.instance(name, **{**spec, "runStrategy": "Always"})
    for name, spec in manifests.items():
        cloud.api.await_condition("Instance", name)
        cloud.instance(name, **spec)
        cloud.api.await_condition("Instance", name)
    before = {name: cloud.status("Instance", name) for name in manifests}
    machines = {d.uuid: (d.host, d.power) for d in cloud.faults.domains()}
    disks = set(cloud.disks())

    refused = api.kubectl.attempt("delete", "crd", *CRDS, "--wait=false")
    assert "allow-deletion" in refused.stderr
    api.kubectl.run("annotate", "crd", *CRDS, "stratiform.dev/allow-deletion=true")
    api.kubectl.run("delete", "crd", *CRDS, "--wait=false")
    for name in manifests:
        said = cloud.message("Instance", name, "CRDTerminating", "Deleting", "True")
        assert "allow-deletion=orphan" in said
    cloud.message("Volume", "web-root", "CRDTerminating", "Deleting", "True")
    api.pod.restart()  # A new leader holds them too.
    cloud.message("Instance", "web", "CRDTerminating", "Deleting", "True")
    assert {d.uuid: (d.host, d.power) for d in cloud.faults.domains()} == machines
    assert set(cloud.disks()) == disks

    api.kubectl.run("annotate", "crd", *CRDS, "stratiform.dev/allow-deletion=orphan", "--overwrite")
    for crd in CRDS:
        until(lambda crd=crd: api.kubectl.attempt("get", "crd", crd).returncode != 0, 40.0)
    assert {d.uuid: (d.host, d.power) for d in cloud.faults.domains()} == machines
    assert set(cloud.disks()) == disks

    install.kinds(api.kubectl)
    for name, spec in manifests.items():
        cloud.instance(name, **spec)
    for name in manifests:
        assert before[name]["uuid"] in cloud.message("Instance", name, "OrphanExists")
    assert {d.uuid: (d.host, d.power) for d in cloud.faults.domains()} == machines
    for name in manifests:
        cloud.api.annotate("instance", name, f"stratiform.dev/adopt={before[name]['uuid']}")
    for name in manifests:
        cloud.api.await_condition("Instance", name)
    # One that is halted takes its volumes when it starts.
    cloud.started_again.add("halted")
    cloud.api.patch("Instance", "halted", {"runStrategy": "Always"})
    assert_as_declared(cloud, 90.0)
    after = {name: cloud.status("Instance", name) for name in manifests}
    for name in manifests:
        assert [after[name][key] for key in ("uuid", "networks")] == [before[name][key] for key in ("uuid", "networks")]
    assert {d.uuid: d.host for d in cloud.faults.domains()} == {u: host for u, (host, _) in machines.items()}
    assert set(cloud.disks()) == disks
    cloud.api.remove(*(f"instance/{name}" for name in manifests))


def _manifest(name: str) -> dict[str, object]:
    strategy = "Halted" if name == "halted" else "Always"
    return {"runStrategy": strategy, "volumes": [managed("root"), managed("data")], "networks": [NIC]}


def test_n4_all_kinds_uninstalled_and_installed_again_leave_every_guest_and_disk_to_be_adopted(
    api: World, cloud: SimCloud
) -> None:
    """The policies go with the chart, so nothing refuses the deletion; what is held is let go with `orphan`; then all
    is applied again from the manifests, the pool with the UUID that it had."""
    lan = (cloud.api.get("Network", "lan") or {})["spec"]
    _declare(cloud, "Always")
    cloud.api.await_condition("Volume", "shelf")
    assert_as_declared(cloud)
    _declare(cloud, "Halted")
    assert_as_declared(cloud)
    before, pool = {name: cloud.status("Instance", name) for name in ("web", "halted")}, cloud.storage()
    volumes = {name: cloud.status("Volume", name)["uuid"] for name in ("data", "shelf")}
    guests, disks = _guests(cloud), cloud.faults.disks(pool)
    names = _ours(api.kubectl, "customresourcedefinitions")
    assert len(names) > 14

    api.kubectl.run("delete", *_ours(api.kubectl, "validatingadmissionpolicies,validatingadmissionpolicybindings"))
    # A policy goes on refusing for a moment. A kind without objects is gone at once; of the others the API server empties
    # five at a time and turns to the next after a minute, so those that are asked for come first.
    for kinds in (["crd/snapshots.stratiform.dev"], sorted(names, key=lambda name: not name.endswith(CRDS))):
        delete = ("delete", *kinds, "--wait=false", "--ignore-not-found")
        until(lambda delete=delete: not api.kubectl.attempt(*delete).returncode, 20.0)
    for name in before:
        cloud.message("Instance", name, "CRDTerminating", "Deleting", "True")
    api.pod.restart()  # A new leader lets them go too, though some kinds are not there any more.
    assert _guests(cloud) == guests and cloud.faults.disks(pool) == disks
    until(lambda: _let_go(api.kubectl), 60.0)
    assert _guests(cloud) == guests and cloud.faults.disks(pool) == disks

    _install(api.kubectl)
    api.cloud.build(len(cloud.hosts), pool={"uuid": pool})
    api.cloud.network()
    cloud.api.apply(manifest("Network", "lan", lan, cloud.namespace))
    _declare(cloud, "Halted")
    told = {("Instance", name): status["uuid"] for name, status in before.items()}
    told |= {("Volume", name): uuid for name, uuid in volumes.items()}
    for (kind, name), uuid in told.items():
        assert uuid in cloud.message(kind, name, "OrphanExists")
    assert _guests(cloud) == guests and cloud.faults.disks(pool) == disks
    for (kind, name), uuid in told.items():
        cloud.api.annotate(kind, name, f"stratiform.dev/adopt={uuid}")
    for kind, name in told:
        cloud.api.await_condition(kind, name)
    assert _guests(cloud) == guests, "adopted without a restart"
    for name, status in before.items():
        after, kept = cloud.status("Instance", name), ("uuid", "networks", "runCount")
        assert [after.get(key) for key in kept] == [status.get(key) for key in kept]
    cloud.started_again.add("halted")
    cloud.api.patch("Instance", "halted", {"runStrategy": "Always"})  # It takes its volumes when it starts.
    assert_as_declared(cloud, 90.0)
    assert {d.disk: d.content for d in cloud.faults.disks(pool)} == {d.disk: d.content for d in disks}
    cloud.api.remove("instance/web", "instance/halted", "volume/shelf", "volume/data")


def _declare(cloud: SimCloud, strategy: str) -> None:
    """A guest with a volume of somebody's, one that is off, and a volume that nobody uses."""
    cloud.volume("data")
    cloud.volume("shelf")
    cloud.instance("web", volumes=[managed("root"), attached("data", "data")], networks=[NIC])
    cloud.instance("halted", **{**_manifest("halted"), "runStrategy": strategy})


def _going(kubectl: Kubectl) -> list[str]:
    query = "-o=jsonpath={range .items[?(@.metadata.deletionTimestamp)]}crd/{.metadata.name} {end}"
    return [name for name in kubectl.run("get", "crd", query).split() if name.endswith(".stratiform.dev")]


def _let_go(kubectl: Kubectl) -> bool:
    """Whether all kinds that go are gone. Some go by themselves between the requests."""
    held = _going(kubectl)
    for name in held:
        kubectl.attempt("annotate", name, "stratiform.dev/allow-deletion=orphan", "--overwrite")
    return not held


def _guests(cloud: SimCloud) -> list[Domain]:
    """All that runs or could in this world, less the marks, which name the object that it is of."""
    found = [replace(d, mark="") for d in cloud.faults.domains() if d.host in cloud.hosts]
    return sorted(found, key=lambda d: d.uuid)


def _install(kubectl: Kubectl) -> None:
    install.kinds(kubectl)
    install.apply(kubectl, [manifest("Region", "default", {"description": "Headquarters"})])


def _ours(kubectl: Kubectl, kind: str) -> list[str]:
    return [name for name in kubectl.run("get", kind, "-o", "name").split() if name.endswith(".stratiform.dev")]
