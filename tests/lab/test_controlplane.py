"""The control plane of a lab: comes up, is found again, loses its API server and goes without a trace."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.controlplane import ControlPlane
from lab.errors import LabError
from lab.processes import Process, start_time

pytestmark = pytest.mark.controlplane


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    plane = ControlPlane("cp-test")
    plane.down()
    plane.up()
    yield plane
    plane.down()


def kubectl(plane: ControlPlane, *arguments: str, kubeconfig: Path | None = None) -> str:
    command = [str(plane.kubectl), f"--kubeconfig={kubeconfig or plane.kubeconfig}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_it_serves_the_version_whose_admission_policies_we_need(plane: ControlPlane) -> None:
    assert '"v1.34' in kubectl(plane, "get", "--raw", "/version")
    assert "validatingadmissionpolicies" in kubectl(plane, "api-resources", "-o", "name")


def test_a_second_up_leaves_every_process_as_it_is(plane: ControlPlane) -> None:
    before = plane.running()
    assert None not in before.values()
    ControlPlane(plane.name).up()
    assert plane.running() == before


def test_the_operator_is_the_service_account_and_no_administrator(plane: ControlPlane) -> None:
    said = kubectl(
        plane, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", kubeconfig=plane.operator_kubeconfig
    )
    assert said == "system:serviceaccount:stratiform-system:stratiform"
    with pytest.raises(subprocess.CalledProcessError):
        kubectl(plane, "get", "secrets", "-A", kubeconfig=plane.operator_kubeconfig)


def test_objects_outlive_a_killed_api_server(plane: ControlPlane) -> None:
    kubectl(plane, "create", "configmap", "kept", "-n", "default", "--from-literal=a=b")
    before = plane.running()
    plane.kill_apiserver()
    assert not plane.ready()
    assert plane.running()["kube-apiserver"] is None
    plane.start_apiserver()
    assert "kept" in kubectl(plane, "get", "configmap", "-n", "default", "-o", "name")
    assert plane.running()["etcd"] == before["etcd"]


def test_an_orderly_stop_and_a_second_stop_are_the_same(plane: ControlPlane) -> None:
    plane.stop_apiserver()
    plane.stop_apiserver()
    assert not plane.ready()
    plane.start_apiserver()
    assert plane.ready()


def test_objects_outlive_a_killed_etcd(plane: ControlPlane) -> None:
    kubectl(plane, "create", "configmap", "kept-too", "-n", "default")
    plane.kill_etcd()
    plane.start_etcd()
    assert "kept-too" in kubectl(plane, "get", "configmap", "-n", "default", "-o", "name")


def test_a_namespace_ends_because_the_controller_manager_runs(plane: ControlPlane) -> None:
    kubectl(plane, "create", "namespace", "short-lived")
    kubectl(plane, "delete", "namespace", "short-lived", "--timeout=30s")
    assert "short-lived" not in kubectl(plane, "get", "namespaces", "-o", "name")


def test_down_leaves_no_process_and_no_file() -> None:
    plane = ControlPlane("cp-test-down")
    plane.up()
    pids = [pid for pid in plane.running().values() if pid is not None]
    assert len(pids) == 3
    plane.down()
    assert [pid for pid in pids if start_time(pid) is not None] == []
    assert not plane.layout.state.exists()
    plane.down()


def test_a_start_that_fails_tells_the_end_of_the_log(tmp_path: Path) -> None:
    plane = ControlPlane("cp-test-bad")
    try:
        blocker = plane.folder / "etcd"
        blocker.parent.mkdir(parents=True)
        blocker.write_text("a file where etcd wants a folder\n")
        with pytest.raises(LabError, match=r"etcd ended.*\n.*etcd\.log") as caught:
            plane.up()
        assert "not a directory" in str(caught.value)
    finally:
        plane.down()


def test_a_pid_that_was_given_to_somebody_else_is_not_touched(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            process = Process("ours", tmp_path / "pid", tmp_path / "log")
            process.pid_file.write_text(f"{stranger.pid} 1\n")
            assert process.pid() is None
            process.kill()
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_bad_name_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(LabError, match="at most 20 lower-case letters"):
        ControlPlane("Bad/Name")
