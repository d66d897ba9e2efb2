"""A kind's CRD is deleted: nothing external is touched while it goes (N4), and what runs then holds its names."""

from collections.abc import Iterator

import pytest

from lab import install
from tests.cluster import until
from tests.faults.apiworld import World
from tests.faults.declared import assert_as_declared
from tests.kinds.simcloud import SimCloud, managed

CRDS = ("instances.stratiform.dev", "volumes.stratiform.dev")
NIC = {"name": "lan", "networkRef": {"name": "lan"}}


@pytest.fixture
def cloud(api: World) -> Iterator[SimCloud]:
    """Kinds are there again at the end, whatever the test did."""
    cloud = api.tenant()
    # Those of the world itself would be orphans afterwards.
    api.kubectl.run("delete", "instances", "--all", "-n", api.cloud.namespace)
    yield cloud
    for crd in CRDS:
        if api.kubectl.attempt("get", "crd", crd).returncode == 0:
            going = api.kubectl.run("get", "crd", crd, "-o=jsonpath={.metadata.deletionTimestamp}")
            if not going:
                continue
            api.kubectl.run("annotate", "crd", crd, "stratiform.dev/allow-deletion=orphan", "--overwrite")
            until(lambda crd=crd: api.kubectl.attempt("get", "crd", crd).returncode != 0, 30.0)
    install.kinds(api.kubectl)
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
