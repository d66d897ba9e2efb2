"""How much the operator writes and asks: a regression of a count is a fault, whatever the machine's speed.

The most that each may take stands in docs/benchmarks.md; the measured runs are in tests/bench.
"""

import asyncio
import time

from controllers.logic.rollup import EVERY
from tests.counts.counting import now, settled
from tests.instances.cloud import Cloud, managed, nic

CHANGES = ("Define", "StartPaused", "Resume", "WriteMark", "create_disk", "delete_disk", "Destroy", "Shutdown")
SUMMED_UP = EVERY + 1.0
"""Seconds without a write after which no parent is about to be summed up."""


async def test_an_instance_without_volumes_and_nics_takes_three_writes_and_two_events(cloud: Cloud) -> None:
    """Placement, finalizer, Ready."""
    before = await settled(cloud)
    await cloud.make()
    await cloud.ready()
    found = (await settled(cloud)).since(before)
    assert found.writes["POST", "Instance"] == 1  # The test's own.
    assert found.of("Instance") - 1 <= 3, found.writes
    assert found.of("Event") <= 2, found.writes
    assert found.sent["PUT", "Instance"] + found.sent["PATCH", "Instance"] <= 4000, found.sent
    assert found.sent["POST", "Event"] <= 1300, found.sent
    assert {c: n for c, n in found.calls.items() if c in CHANGES} == {
        "Define": 1, "StartPaused": 1, "Resume": 1, "WriteMark": 1,
    }  # fmt: skip
    assert found.calls["choose_hardware"] == 1
    assert found.calls["observe_instance"] <= 6, found.calls  # One after each change, one after their echoes.


async def test_each_volume_that_it_makes_takes_two_writes_and_all_of_them_one_status_at_most(cloud: Cloud) -> None:
    """Its creation, finalizer in the body, and one status; volumes that take longer than a second are told of."""
    before = await settled(cloud)
    await cloud.make(volumes=[managed("root") | {"bootOrder": 1}, managed("data"), managed("logs")])
    await cloud.ready()
    found = (await settled(cloud)).since(before)
    assert found.of("Volume") <= 2 * 3, found.writes
    assert found.of("Instance") - 1 <= 4, found.writes
    assert found.sent["POST", "Volume"] + found.sent["PUT", "Volume"] <= 3 * 1500, found.sent
    assert found.calls["create_disk"] == 3, found.calls


async def test_an_address_takes_its_claim_and_no_status(cloud: Cloud) -> None:
    """What Ready says of it holds from its creation on, by the schema."""
    before = await settled(cloud)
    await cloud.make(networks=[nic()])
    await cloud.ready()
    found = (await settled(cloud)).since(before)
    assert found.of("NetworkAddress") <= 1, found.writes
    assert found.of("Instance") - 1 <= 3, found.writes


async def test_a_parent_is_summed_up_once_in_its_interval(cloud: Cloud) -> None:
    """However many of its children change."""
    await settled(cloud)
    before, begun = now(), time.monotonic()
    for number in range(12):
        await cloud.make(f"web-{number}")
    for number in range(12):
        await cloud.ready(name=f"web-{number}")
    found = (await settled(cloud)).since(before)
    intervals = (time.monotonic() - begun) / cloud.engine.settings.roll_up + 2
    assert found.of("Host") <= 2 * intervals, found.writes
    for kind in ("HostCluster", "HostPod", "Zone", "Region", "InstanceType"):
        assert found.of(kind) <= intervals, found.writes


async def test_nothing_to_do_means_nothing_done(cloud: Cloud) -> None:
    """At rest: listings, and nothing else."""
    for number in range(4):
        await cloud.make(f"web-{number}", volumes=[managed("root")], networks=[nic()])
    for number in range(4):
        await cloud.ready(name=f"web-{number}")
    before = await settled(cloud, SUMMED_UP)
    await asyncio.sleep(4.0)
    found = now().since(before)
    assert not found.writes
    assert set(found.calls) <= {"list_instances", "observe_host"}, found.calls


async def test_a_restarted_operator_only_reads(cloud: Cloud) -> None:
    for number in range(4):
        await cloud.make(f"web-{number}", volumes=[managed("root")], networks=[nic()])
    for number in range(4):
        await cloud.ready(name=f"web-{number}")
    await settled(cloud, SUMMED_UP)
    await cloud.operator_stops()
    before = now()
    await cloud.operator_starts()
    found = (await settled(cloud)).since(before)
    assert not found.writes
    assert not [call for call in found.calls if call in CHANGES], found.calls


async def test_a_deletion_takes_the_finalizer_and_no_more_than_one_status(cloud: Cloud) -> None:
    await cloud.make(volumes=[managed("root")], networks=[nic()])
    await cloud.ready()
    before = await settled(cloud)
    await cloud.delete()
    await cloud.gone()
    found = (await settled(cloud)).since(before)
    assert found.writes["DELETE", "Instance"] == 1  # The test's own.
    assert found.of("Instance") - 1 <= 2, found.writes
    assert found.of("Volume") <= 4, found.writes
    assert found.of("NetworkAddress") <= 4, found.writes
