"""What tests share: one control plane, one operator, one set of hosts and one template a session, all of lab `test`
(or of $STRATIFORM_LAB).

Nothing is started before a test asks for it. Each test has its own namespace; names of cluster-scoped objects carry its
suffix. The engine's own tests run engines of their own in this process and ask for `quiet`, so that no operator works
beside them.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from xdist.scheduler import LoadScopeScheduling

from lab import install
from lab.controlplane import ControlPlane
from lab.errors import tail
from lab.kubectl import Kubectl
from lab.layout import locked_or, open_layout
from lab.machines import Machines
from lab.operator import Operator
from tests.cluster import Cluster, manifest
from tests.drivers.images import ImageServer

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
"""Workers share nothing: each has labs of its own name, and what needs the same things runs in the same one."""
LAB = os.environ.get("STRATIFORM_LAB", "test") + ("" if WORKER == "gw0" else f"-{WORKER}")
TOGETHER = {"fleet": "instances", "kills": "instances", "placement": "kinds", "counts": "kinds"}
"""Folders whose tests run in one worker with those of another, because they share its hosts or its control plane."""
LONGEST = ("kinds", "cloud", "instances", "faults of the API", "faults", "engine", "lab", "drivers")
"""Kinds before the cloud, however few workers there are: it leaves its Templates, which are copied to any store."""
KEEP = bool(
    os.environ.get("STRATIFORM_KEEP_LAB")
)  # For a look round after a failure; the next session goes on with it.


def scope_of(nodeid: str) -> str:
    """What runs in one worker."""
    folder, _, rest = nodeid.removeprefix("tests/").partition("/")
    if folder == "faults" and not rest.startswith(("test_driver", "test_hosts")):
        folder = "faults of the API"  # Half of that folder, which takes longest, with a control plane of its own.
    return TOGETHER.get(folder, folder)


class ByFolder(LoadScopeScheduling):  # type: ignore[misc]
    """One folder, one worker (`make test` has several): its tests share what a session has."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that the workers end together."""
    items.sort(key=lambda item: LONGEST.index(found) if (found := scope_of(item.nodeid)) in LONGEST else len(LONGEST))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFolder:
    return ByFolder(config, log)


@pytest.fixture(scope="session")
def alone() -> Iterator[None]:
    """A second session of the same lab would take it down under this one."""
    refusal = f"lab {LAB} is in use by another test session: wait for its end, or set STRATIFORM_LAB to another name"
    with locked_or(refusal, f"session-{LAB}"):
        yield


@pytest.fixture(scope="session")
def lab_name(alone: None) -> str:
    """What names of further labs begin with, so that `make down` finds them and no other worker has them."""
    return LAB


@pytest.fixture(scope="session")
def plane(alone: None) -> Iterator[ControlPlane]:
    """A fresh control plane with our kinds, policies and rights, and no operator."""
    plane = ControlPlane(LAB)
    Operator(plane.layout, plane.operator_kubeconfig).kill()
    if not KEEP:
        plane.down()
    plane.up()
    kubectl = Kubectl(plane.kubectl, plane.kubeconfig)
    install.kinds(kubectl)
    install.rights(kubectl)
    kubectl.run("apply", "-f", "-", text=yaml.safe_dump(manifest("Region", "default", {"description": "Headquarters"})))
    yield plane
    if not KEEP:
        plane.down()


@pytest.fixture(scope="session")
def wiped_plane(alone: None) -> Iterator[ControlPlane]:
    """A second control plane with our kinds, for tests that run engines in their own process: each wipes it."""
    plane = ControlPlane(f"{LAB}-wiped")
    plane.down()
    plane.up()
    install.kinds(Kubectl(plane.kubectl, plane.kubeconfig))
    yield plane
    plane.down()


@pytest.fixture(scope="session")
def kubectl_program(plane: ControlPlane) -> Kubectl:
    return Kubectl(plane.kubectl, plane.kubeconfig)


@pytest.fixture(scope="session")
def simulated_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the operator's simulated hosts keep their state: tests reach in through `drivers.simulated.faults`."""
    return tmp_path_factory.mktemp("simulated") / "cloud.db"


@pytest.fixture(scope="session")
def images() -> Iterator[ImageServer]:
    """Serves images on the loopback."""
    server = ImageServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def the_operator(plane: ControlPlane, simulated_state: Path) -> Iterator[Operator]:
    arguments = (
        f"--simulated-state={simulated_state}", "--listing-interval=2", "--pool-interval=5", "--lease-duration=12",
        "--lease-renew=1", "--lease-margin=3", "--backoff-most=5", "--log-level=INFO",
    )  # fmt: skip
    operator = Operator(plane.layout, plane.operator_kubeconfig, arguments)
    yield operator
    if not KEEP:
        operator.stop()


@pytest.fixture
def operator(the_operator: Operator) -> Iterator[Operator]:
    """The operator, running as a process of its own with the rights of the chart."""
    the_operator.start()
    yield the_operator
    if the_operator.process.pid() is None:  # Shown with a failure: on a machine that stood still it loses its Lease.
        print("the operator ended:", tail(the_operator.process.log), sep="\n")


@pytest.fixture
def quiet(the_operator: Operator) -> None:
    """No operator works while this test does."""
    the_operator.stop()


@pytest.fixture(scope="session")
def libvirt_hosts(alone: None) -> Iterator[Machines]:
    """Three libvirt hosts, NFS and template server, without a control plane."""
    machines = Machines(LAB)
    if not KEEP:
        machines.down()  # Disks of an earlier session carry the marks of another installation.
    machines.up()
    yield machines
    if not KEEP:
        machines.down()


@pytest.fixture(scope="session")
def bare_hosts(libvirt_hosts: Machines) -> Machines:
    """The hosts anew, for tests of the driver alone: nothing of a cloud is on them, and no operator looks at them."""
    layout = open_layout(LAB)
    Operator(layout, layout.operator_kubeconfig).stop()
    libvirt_hosts.down()
    libvirt_hosts.up()
    return libvirt_hosts


@pytest.fixture(scope="session")
def machines(libvirt_hosts: Machines, kubectl_program: Kubectl) -> Machines:
    """The hosts anew, and the Secret of the client's certificate in the API."""
    libvirt_hosts.down()
    libvirt_hosts.up()
    install.client_certificate(kubectl_program, libvirt_hosts.pki_dir)
    return libvirt_hosts


@pytest.fixture
def suffix() -> str:
    """For names of cluster-scoped objects: unique per test."""
    return uuid.uuid4().hex[:6]


@pytest.fixture
def cluster(kubectl_program: Kubectl, suffix: str) -> Cluster:
    """The API with a fresh namespace."""
    namespace = f"t-{suffix}"
    kubectl_program.run("create", "namespace", namespace)
    return Cluster(kubectl_program, suffix, namespace)
