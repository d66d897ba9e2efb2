"""A control plane of their own for the tests of what the real API server says.

They apply the examples under their own names and leave what they make: in the plane that other tests share an operator
would take it up.
"""

import subprocess
from collections.abc import Callable, Iterator

import pytest

from lab import install
from lab.controlplane import ControlPlane
from lab.kubectl import Kubectl as Program

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="package")
def kubectl(lab_name: str) -> Iterator[Kubectl]:
    """`kubectl(*args, input=None, check=True)`, as the administrator of a control plane with CRDs and policies."""
    plane = ControlPlane(f"{lab_name}-crds")
    plane.down()
    plane.up()
    program = Program(plane.kubectl, plane.kubeconfig)

    def run(*args: str, input: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:  # noqa: A002
        command = [str(plane.kubectl), f"--kubeconfig={plane.kubeconfig}", *args]
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, f"{' '.join(args)}: {done.stderr}"
        return done

    try:
        install.kinds(program)
        yield run
    finally:
        plane.down()


@pytest.fixture
def namespace(kubectl: Kubectl, suffix: str) -> str:
    """A fresh namespace."""
    name = f"t-{suffix}"
    kubectl("create", "namespace", name)
    return name
