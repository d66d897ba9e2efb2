"""What can befall the operator's own process: a wrong clock, a loop that stands, no threads, no file descriptors."""

import itertools
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.controlplane import ControlPlane
from tests.cluster import until
from tests.faults.apiworld import World, world
from tests.faults.declared import assert_as_declared


@pytest.fixture(scope="module")
def shared_world(api_plane: ControlPlane, api_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    hurt = folder / "hurt"
    hurt.mkdir()
    with world(
        api_plane, api_state, folder, f"--folder={hurt}", "--wedged-after=2", module="tests.faults.hurt"
    ) as found:
        yield found


@pytest.fixture
def hurt(api: World) -> Iterator[Path]:
    """Files in it hurt the operator."""
    folder = api.folder / "hurt"
    api.pod.ends.clear()
    yield folder
    for file in folder.iterdir():
        file.unlink()


def test_a_clock_that_steps_forward_and_back_changes_nothing_that_runs(api: World, hurt: Path) -> None:  # W1
    """An hour ahead, an hour behind, right again; each time something is placed, halted and deleted."""
    sequences = []
    for offset in (3600, -3600, 0):
        (hurt / "clock").write_text(str(offset))
        api.traffic()
        api.settle()
        sequences.append(_sequences(api))
    assert api.pod.ends == [], "the Lease is counted by a clock that nobody sets"
    for before, after in itertools.pairwise(sequences):
        assert all(after[uid] >= sequence for uid, sequence in before.items() if uid in after)


def test_a_placement_decided_with_a_clock_that_went_back_is_still_the_later_one(api: World, hurt: Path) -> None:  # W1
    cloud = api.tenant()
    (hurt / "clock").write_text("3600")
    cloud.instance("web", wait=True)
    first = cloud.status("Instance", "web")["placement"]
    (hurt / "clock").write_text("-3600")
    pin = next(h for h in cloud.hosts if h != first["host"])
    cloud.api.patch("Instance", "web", {"placement": {"hostRef": {"name": pin}}, "runStrategy": "Halted"})
    cloud.api.await_condition("Instance", "web", reason="Stopped")
    cloud.api.patch("Instance", "web", {"runStrategy": "Always"})
    until(lambda: cloud.faults.running(cloud.status("Instance", "web")["uuid"]) == (pin,), 40.0)
    cloud.api.await_condition("Instance", "web", reason="Running")
    assert cloud.status("Instance", "web")["placement"]["sequence"] > first["sequence"]
    cloud.started_again.add("web")
    assert_as_declared(cloud)
    cloud.api.remove("instance/web")


def test_a_loop_that_stands_for_a_while_is_seen_by_the_probe_and_goes_on(api: World, hurt: Path) -> None:
    api.traffic()
    (hurt / "block").write_text("3.5")
    until(lambda: api.pod.page("/livez")[0] == 503, 10.0)
    api.settle()
    assert api.pod.page("/livez")[0] == 200
    assert api.pod.ends == []


def test_w6_a_loop_that_stands_past_the_lease_ends_the_process(api: World, hurt: Path) -> None:
    api.traffic()
    (hurt / "block").write_text("30")
    until(lambda: api.pod.ends, 15.0)
    assert api.pod.ends == [-signal.SIGALRM]
    api.settle()


def test_out_of_threads_it_goes_on_when_there_are_some_again(api: World, hurt: Path) -> None:
    (hurt / "threads").touch()
    for host in api.cloud.hosts:
        api.faults.cut_connections(host)  # New connections want new threads.
    api.traffic()
    until(lambda: api.pod.said("can't start new thread"), 20.0)
    (hurt / "threads").unlink()
    api.settle()


def test_without_new_file_descriptors_it_works_with_those_it_has(api: World, hurt: Path) -> None:
    before = resource.prlimit(api.pod.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(api.pod.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        api.traffic()
        assert_as_declared(api.cloud)
    finally:
        resource.prlimit(api.pod.pid, resource.RLIMIT_NOFILE, before)
    assert api.pod.ends == []


def test_out_of_file_descriptors_and_connections_it_goes_on_when_there_are_some_again(api: World, hurt: Path) -> None:
    pid = api.pod.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        api.proxy.break_connections()
        for host in api.cloud.hosts:
            api.faults.cut_connections(host)
        api.traffic()
        until(lambda: api.pod.said("Too many open files"), 20.0)
    finally:
        if api.pod.pid == pid:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    api.settle()


def _sequences(api: World) -> dict[str, int]:
    items = api.kubectl.objects("instances.stratiform.dev", "-n", api.cloud.namespace)
    return {i["metadata"]["uid"]: i["status"]["placement"]["sequence"] for i in items if "placement" in i["status"]}
