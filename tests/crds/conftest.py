"""A control plane of its own with our CRDs and policies, for the tests of what the real API server says."""

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from lab.controlplane.cluster import ControlPlane

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def kubectl() -> Iterator[Kubectl]:
    """`kubectl(*args, input=None, check=True)`, as the administrator of a control plane with CRDs and policies."""
    plane = ControlPlane("crdtest")
    plane.up()

    def run(*args: str, input: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:  # noqa: A002
        command = [str(plane.kubectl), f"--kubeconfig={plane.kubeconfig}", *args]
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, f"{' '.join(args)}: {done.stderr}"
        return done

    try:
        manifests = subprocess.run([sys.executable, "-m", "crds"], capture_output=True, text=True, check=True).stdout
        run("apply", "-f", "-", input=manifests)
        run("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        deadline = time.monotonic() + 30
        while run("delete", "crd", "regions.stratiform.dev", "--dry-run=server", check=False).returncode == 0:
            assert time.monotonic() < deadline, "the admission policies did not take effect"
            time.sleep(0.1)
        yield run
    finally:
        plane.down()


@pytest.fixture
def suffix() -> str:
    return uuid.uuid4().hex[:8]


@pytest.fixture
def namespace(kubectl: Kubectl, suffix: str) -> str:
    name = f"t-{suffix}"
    kubectl("create", "namespace", name)
    return name
