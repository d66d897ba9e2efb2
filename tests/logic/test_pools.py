"""Where a pool lies, which disks on it are nobody's, and what its hosts say of it in one sentence."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from controllers.diskcalls import POOL_AGAIN, SOON, DiskCalls
from controllers.engine.base import Refused
from controllers.fleet.base import HostView, Link
from controllers.logic.pool import address, source_of
from controllers.logic.reach import Reach, judge, needed_bases, owners
from drivers.base import DiskFacts, SimulatedSource
from drivers.marks import DiskMark, DiskState
from tests.logic.infrastructure import Cloud


def _disk(name: str, *, kind: str = "Volume", base: str = "") -> DiskFacts:
    mark = DiskMark(
        installation="i",
        kind=kind,
        namespace="n",
        name=name,
        uid=name,
        uuid=name,
        n=1,
        state=DiskState.READY,
        base=base,
    )
    return DiskFacts(disk=f"{name}-1", mark=mark)


def test_d4_a_base_that_a_clone_needs_is_no_orphan() -> None:
    disks = [_disk("clone", base="base-1"), _disk("base", kind="Template"), _disk("lost", kind="Template")]
    assert needed_bases(disks) == {"base-1"}


def test_d4_a_base_whose_last_clone_has_gone_before_its_volume_is_no_orphan() -> None:
    """Found by a kill between the two: the pool told of an orphan for half a minute."""
    cloud, scope = Cloud(), {"type": "Zone", "zoneRef": {"name": "z"}}
    simulated = {"scope": scope, "type": "Simulated", "simulated": {"capacity": "1Gi"}}
    pool, other = cloud.add("StoragePool", "one", simulated), cloud.add("StoragePool", "two", simulated)
    made_from = {"type": "Template", "namespace": "n", "name": "base", "uid": "base"}
    status = {"madeFrom": made_from, "disk": {"pool": "one", "n": 1}}
    volume = cloud.add("Volume", "clone", {"zoneRef": {"name": "z"}, "size": "1Gi"}, namespace="n", status=status)
    assert owners(pool, cloud.cache) == {volume.uid, "base"}
    assert owners(other, cloud.cache) == {volume.uid}


def test_h3_two_simulated_pools_of_one_address_are_one() -> None:
    cloud = Cloud()
    scope = {"type": "Zone", "zoneRef": {"name": "z"}}
    simulated = {"capacity": "1Gi", "address": "array-1"}
    pool = cloud.add("StoragePool", "one", {"scope": scope, "type": "Simulated", "simulated": simulated})
    assert source_of(pool.spec) == SimulatedSource(capacity=2**30, address="array-1")
    assert address(pool) == "simulated://array-1"


@pytest.mark.parametrize(("link", "soon"), [(Link.CONNECTING, True), (Link.UP, True), (Link.DOWN, False)])
def test_a_pool_whose_hosts_are_being_connected_is_asked_for_again_soon(link: Link, soon: bool) -> None:
    spec = {"scope": {"type": "Zone", "zoneRef": {"name": "z"}}, "type": "Simulated", "simulated": {"capacity": "1Gi"}}
    pool = Cloud().add("StoragePool", "one", spec, status={"hosts": [{"name": "node-1", "state": "Ready"}]})
    view = HostView(host="node-1", link=link, since=datetime.now(UTC), last_contact=None, facts=None)
    fleet: Any = SimpleNamespace(view=lambda host: view)
    services: Any = None
    with pytest.raises(Refused) as refused:
        DiskCalls(services, fleet).host_for(pool)
    assert (refused.value.reason, refused.value.after) == ("PoolNotReachable", SOON if soon else POOL_AGAIN)


def test_a_sentence_ends_with_one_full_stop_and_says_its_advice_once() -> None:
    wrong = [Reach(host=h, state="Failed", reason="WrongPool", message="it is another. Set spec.uuid.") for h in "ab"]
    assert judge(wrong, "Zone z").message == "a, b: it is another. Set spec.uuid."


def test_one_host_is_named_and_several_are_counted() -> None:
    down = [Reach(host=h, state="Unreachable", host_up=False) for h in ("node-1", "node-2")]
    assert judge(down[:1], "Host node-1").message == "Host node-1, alone in its scope (Host node-1), is not up."
    assert judge(down, "Zone z").message == "None of the 2 hosts in its scope (Zone z) is up."
