"""Two operators at once: one leads, the other waits; what the former leader still does is harmless."""

import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest

from drivers.base import Power, Why
from drivers.marks import InstanceMark, decode
from tests.cluster import until
from tests.faults.apiworld import World
from tests.faults.declared import assert_as_declared
from tests.faults.pod import Pod
from tests.faults.proxy import Slow


@pytest.fixture
def other(api: World) -> Iterator[Pod]:
    """A second operator beside the one that leads; it waits."""
    pod = api.second("other").start(wait=False)
    until(lambda: pod.said("waiting for the Lease"), 30.0, why=lambda: pod.log.read_text()[-2000:])
    yield pod
    pod.stop()


def test_two_operators_at_once_one_works_and_the_other_touches_nothing(api: World, other: Pod) -> None:
    api.traffic()
    api.settle()
    assert other.page("/readyz")[0] == 200, "ready to take over"
    assert other.metric("stratiform_leader") == 0.0
    assert other.metric("stratiform_driver_calls_total") == 0.0
    for verb in ("POST", "PUT", "PATCH", "DELETE"):
        assert other.metric("stratiform_api_requests_total", verb=verb) == 0.0


def test_w6_a_leader_stopped_past_its_lease_and_continued_does_nothing_more(api: World, other: Pod) -> None:
    api.traffic()  # Work that it leaves in its middle.
    api.pod.ends.clear()
    api.pod.signal(signal.SIGSTOP)
    until(other.ready, 30.0)
    api.traffic()
    assert_as_declared(api.cloud)
    marks = {d.mark for d in api.faults.domains()}
    api.pod.signal(signal.SIGCONT)
    until(lambda: api.pod.ends, 10.0)
    assert api.pod.ends == [-signal.SIGALRM]
    assert {d.mark for d in api.faults.domains()} == marks
    until(lambda: api.pod.page("/readyz")[0] == 200, 20.0)
    other.stop()  # The first one leads again.
    api.settle()


def test_w6_a_late_status_write_of_a_former_leader_is_refused(api: World, other: Pod) -> None:
    """Its placement reaches the API server after the next leader has decided."""
    cloud = api.tenant()
    path = f"/namespaces/{cloud.namespace}/instances/late/status"
    api.proxy.requests.clear()
    with api.proxy.during(Slow(60.0), path=path, verb="PUT") as held:
        cloud.instance("late")
        until(lambda: held.hits, 20.0)
        api.pod.kill()
        until(other.ready, 30.0)
        cloud.api.await_condition("Instance", "late")
        decided = cloud.status("Instance", "late")["placement"]
    until(lambda: api.proxy.count(path, "PUT"), 10.0)
    assert [r.status for r in api.proxy.requests if r.path.endswith(path) and r.verb == "PUT"] == [409]
    assert cloud.status("Instance", "late")["placement"] == decided
    assert_as_declared(cloud)
    other.stop()
    api.settle()
    cloud.api.remove("instance/late")


@pytest.mark.parametrize("earlier", [1, 0], ids=["of an earlier term", "of the same decision"])
def test_w4_w6_a_late_start_of_a_former_leader_never_runs(api: World, earlier: int) -> None:
    """What it had asked for appears on another host, paused, while the guest runs where it belongs."""
    cloud = api.tenant()
    cloud.instance("web", wait=True)
    uuid, host = cloud.status("Instance", "web")["uuid"], cloud.host_of("web")
    elsewhere = next(h for h in cloud.hosts if h != host)
    mark = decode(next(d.mark for d in api.faults.domains(host) if d.uuid == uuid))
    assert isinstance(mark, InstanceMark)
    api.faults.duplicate(uuid, host, elsewhere)
    api.faults.set_power(elsewhere, uuid, Power.PAUSED, Why.STARTED_PAUSED)
    api.faults.write_mark(elsewhere, uuid, replace(mark, sequence=mark.sequence - earlier, starting=mark.run_count))
    until(lambda: [d.host for d in api.faults.domains() if d.uuid == uuid] == [host], 40.0)
    assert cloud.host_of("web") == host and api.faults.running(uuid) == (host,)
    assert_as_declared(cloud)
    cloud.api.remove("instance/web")
