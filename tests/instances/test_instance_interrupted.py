"""Every call of a start and of an end may fail, or be done and its answer lost: the end is the same (design.md §1)."""

import asyncio

import pytest

from drivers.errors import Busy, Invalid, Unsupported
from tests.engine.harness import until
from tests.instances.cloud import Cloud, managed, nic

START = ["choose_hardware", "write_seed", "Define", "StartPaused", "Resume", "WriteMark"]
ROOT = {**managed("root"), "bootOrder": 1}


@pytest.mark.parametrize("call", START)
async def test_an_answer_that_is_lost_in_a_start_changes_nothing(cloud: Cloud, call: str) -> None:
    cloud.faults.lose_answer(1, call=call)
    uuid = await cloud.make(volumes=[ROOT], networks=[nic()])
    await cloud.ready(deadline=30.0)
    assert len(cloud.faults.running(uuid)) == 1 and len(cloud.domains(uuid)) == 1
    assert len(await cloud.api.all("NetworkAddress")) == 1
    assert (await cloud.status())["runCount"] == 1


@pytest.mark.parametrize("call", START)
async def test_a_call_that_fails_in_a_start_is_tried_again(cloud: Cloud, call: str) -> None:
    cloud.faults.fail(1, call=call, error=Busy)
    uuid = await cloud.make(volumes=[ROOT], networks=[nic()])
    await cloud.ready(deadline=30.0)
    assert len(cloud.faults.running(uuid)) == 1 and (await cloud.status())["runCount"] == 1


async def test_a_host_that_refuses_the_first_start_is_avoided(cloud: Cloud) -> None:
    cloud.faults.fail(None, host="node-1", call="Define", error=Invalid, text="no such thing here")
    uuid = await cloud.make()
    assert await cloud.until_runs(uuid, 60.0) == "node-2"
    await cloud.ready()


async def test_a_host_that_cannot_give_the_hardware_of_a_first_start_is_avoided(cloud: Cloud) -> None:
    text = "host node-1 has no firmware of that kind"
    cloud.faults.fail(None, host="node-1", call="choose_hardware", error=Unsupported, text=text)
    uuid = await cloud.make(volumes=[ROOT])
    assert await cloud.until_runs(uuid, 60.0) == "node-2"
    await cloud.ready()


async def test_where_every_host_refuses_ready_says_why_and_what_it_took_is_free(cloud: Cloud) -> None:
    cloud.faults.fail(None, call="choose_hardware", error=Unsupported, text="no such firmware here")
    whole = {"resources": {"cpus": 13, "memory": "1Gi"}, "placement": {"hostRef": {"name": "node-1"}}}
    await cloud.make(**whole)
    said = await cloud.ready("Unsupported", "False", deadline=30.0)
    assert "just failed to start it" in said["message"] and "no such firmware here" in said["message"]
    assert (await cloud.condition("Scheduled", "NoHostFits", "False"))["message"] == said["message"]
    await cloud.make("web-2", **whole)
    await cloud.ready("Unsupported", "False", name="web-2", deadline=30.0)
    (failed,) = (await cloud.status("web-2"))["failedStarts"]
    assert (failed["host"], failed["reason"]) == ("node-1", "Unsupported")


async def test_what_never_ran_is_not_bound_to_the_machine_type_of_a_host_that_refused_it(cloud: Cloud) -> None:
    cloud.faults.fail(None, call="StartPaused", error=Invalid, text="no such thing here")
    await cloud.make()
    await cloud.ready("Invalid", "False", deadline=30.0)
    status = await cloud.status()
    assert "hardware" not in status and "resources" not in status


async def test_hosts_that_refuse_are_told_and_avoided_after_a_restart_too_until_it_runs(cloud: Cloud) -> None:
    order = cloud.faults.fail(None, call="Define", error=Invalid, text="no such thing here")
    uuid = await cloud.make()
    names = ["node-1", "node-2"]

    async def failed() -> dict[str, int]:
        listed = (await cloud.status()).get("failedStarts", ())
        assert all("no such thing here" in f["message"] and f["until"] > f["at"] for f in listed)
        return {f["host"]: f["times"] for f in listed}

    async def both() -> bool:
        return sorted(await failed()) == names

    await until(both, 60.0, what="both hosts refused")
    await cloud.operator_stops()
    before = await failed()
    await cloud.operator_starts()
    cloud.faults.release(order)
    assert {host: times for host, times in (await failed()).items() if host in before} == before
    await cloud.until_runs(uuid, 120.0)
    await until(lambda: _forgotten(cloud), 30.0, what="forgotten once it runs")


async def _forgotten(cloud: Cloud) -> bool:
    return not (await cloud.status()).get("failedStarts")


async def test_an_operator_that_is_stopped_again_and_again_ends_at_the_same(cloud: Cloud) -> None:
    await cloud.operator_stops()
    uuid = await cloud.make(volumes=[ROOT], networks=[nic()])
    for _ in range(4):
        await cloud.operator_starts()
        await asyncio.sleep(0.05)
        await cloud.operator_stops()
    await cloud.operator_starts()
    await cloud.ready(deadline=30.0)
    assert len(cloud.domains(uuid)) == 1 and (await cloud.status())["runCount"] == 1
    assert len(await cloud.api.all("NetworkAddress")) == 1


@pytest.mark.parametrize("call", ["Shutdown", "Destroy"])
async def test_an_answer_that_is_lost_in_a_deletion_changes_nothing(cloud: Cloud, call: str) -> None:
    uuid = await cloud.make(volumes=[ROOT])
    await cloud.ready(deadline=20.0)
    cloud.faults.lose_answer(1, call=call)
    await cloud.delete()
    await cloud.gone(deadline=30.0)
    await cloud.gone("web-1-root", "Volume", deadline=30.0)
    assert cloud.domains(uuid) == []


async def test_many_at_once_all_run_with_addresses_of_their_own(cloud: Cloud) -> None:
    names = [f"many-{n}" for n in range(24)]
    uuids = [await cloud.make(name, networks=[nic()], resources={"cpus": 1, "memory": "64Mi"}) for name in names]
    for name in names:
        await cloud.ready(name=name, deadline=60.0)
    claims = [a["spec"]["address"] for a in await cloud.api.all("NetworkAddress")]
    assert len(claims) == len(set(claims)) == len(names)
    for uuid in uuids:
        assert len(cloud.faults.running(uuid)) == 1
    await until(lambda: all(len(cloud.domains(u)) == 1 for u in uuids), 5.0)
