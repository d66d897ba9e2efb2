"""The cloud that all tests of this folder share: lab `test` with examples/ applied to it, last file first.

The modules run in the order below, whatever their names: first what everybody wants, last what breaks hosts. Each
leaves hosts and servers well.
"""

import os
from pathlib import Path

import pytest

from lab.controlplane import ControlPlane
from lab.kubectl import Kubectl
from lab.machines import Machines, render
from lab.operator import CHECKOUT, Operator
from tests.cloud.cloud import TEAM, Cloud
from tests.cluster import Cluster

ORDER = ("test_examples", "test_life", "test_power", "test_hands", "test_mistakes", "test_restarts", "test_outages")
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = [n for n, item in enumerate(items) if item.path.parent == HERE]
    mine = sorted((items[n] for n in places), key=lambda item: ORDER.index(item.path.stem))
    for place, item in zip(places, mine, strict=True):
        items[place] = item
        item.add_marker(pytest.mark.cloud)
        item.add_marker(pytest.mark.timeout(600))  # Several deadlines one after another, on cores that are shared.


@pytest.fixture(scope="session")
def cloud(plane: ControlPlane, machines: Machines, the_operator: Operator, kubectl_program: Kubectl) -> Cloud:
    """Hosts, pool, store and template are Ready; the examples' instance may still be on its way."""
    the_operator.start()
    folder = render(CHECKOUT / "examples", plane.layout.state / "examples", machines.plan, machines.template_checksum)
    files = sorted(folder.glob("*.yaml"))
    kubectl_program.run("apply", "-f", str(files[0]))  # Namespaces are Kubernetes' own: nothing can lie in them before.
    for path in reversed(files[1:]):
        kubectl_program.run("apply", "-f", str(path))
    cluster = Cluster(kubectl_program, "cloud", TEAM)
    for host in machines.hosts:
        cluster.await_condition("host", host.name, deadline=90)
    cluster.await_condition("storagepool", "nfs-1", deadline=90)
    Cluster(kubectl_program, "cloud", "images").await_condition("template", "tiny-linux", deadline=180)
    return Cloud(plane, machines, the_operator, cluster, folder)


@pytest.fixture(autouse=True)
def _everything_runs(cloud: Cloud) -> None:
    """Whatever the test before broke and did not mend, or failed before it could."""
    if not cloud.plane.ready():
        cloud.plane.up()
    cloud.machines.up()
    cloud.operator.start()


@pytest.fixture(autouse=True, scope="session")
def _told_where_to_look(cloud: Cloud) -> None:
    if os.environ.get("STRATIFORM_KEEP_LAB"):
        print(f"KUBECONFIG={cloud.plane.kubeconfig} is left as it is after the tests")
