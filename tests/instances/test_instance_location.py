"""What administrators and hosts do behind the operator's back (safety.md W3 to W7, H1)."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from controllers import metrics
from controllers.engine.base import Key
from drivers.base import Power, Why
from drivers.marks import InstanceMark, decode
from tests.engine.harness import until
from tests.instances.cloud import Cloud, managed, nic, other


def _mark(cloud: Cloud, uuid: str) -> InstanceMark:
    mark = decode(cloud.domain(uuid).mark)
    assert isinstance(mark, InstanceMark)
    return mark


async def test_w4_a_machine_that_somebody_moved_is_followed(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    host = await cloud.host_of()
    before = (await cloud.status())["placement"]["sequence"]
    cloud.faults.move(uuid, host, other(host))
    await until(lambda: _stands(cloud, other(host)), 30.0, what="followed")
    await cloud.ready()
    status = await cloud.status()
    assert status["placement"]["sequence"] == before
    assert status["runCount"] == 1 and cloud.faults.running(uuid) == (other(host),)


async def _stands(cloud: Cloud, host: str) -> bool:
    """Placed there and seen there, in one status."""
    status = await cloud.status()
    return bool(status["placement"]["host"] == status["hostRef"]["name"] == host)


async def _placed(cloud: Cloud, host: str) -> bool:
    return bool((await cloud.status())["placement"]["host"] == host)


async def test_w4_the_left_over_definition_of_a_move_is_undefined(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    host = await cloud.host_of()
    cloud.faults.move(uuid, host, other(host), keep_definition=True)
    await until(lambda: [d.host for d in cloud.domains(uuid)] == [other(host)], 10.0, what="left-over gone")
    await cloud.ready()
    assert cloud.faults.running(uuid) == (other(host),)


async def test_w4_a_copy_made_by_hand_that_runs_too_is_left_alone(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    host = await cloud.host_of()
    cloud.faults.duplicate(uuid, host, other(host))
    refused = await cloud.ready("RunsTwice", "False")
    assert host in refused["message"] and other(host) in refused["message"]
    await cloud.condition("Stalled", "RunsTwice")
    assert len(cloud.faults.running(uuid)) == 2
    cloud.faults.remove(other(host), uuid)
    await cloud.ready()


async def test_w4_a_lower_copy_is_destroyed(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    host, mark = await cloud.host_of(), _mark(cloud, uuid)
    cloud.faults.duplicate(uuid, host, other(host))
    cloud.faults.write_mark(other(host), uuid, replace(mark, sequence=mark.sequence - 1))
    await until(lambda: cloud.faults.running(uuid) == (host,), 10.0, what="stale copy gone")
    await cloud.ready()


async def test_w4_an_api_that_went_back_in_time_holds_until_resumed(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    host, mark = await cloud.host_of(), _mark(cloud, uuid)
    cloud.faults.write_mark(host, uuid, replace(mark, sequence=mark.sequence + 100))
    await cloud.ready("AheadOfAPI", "False")
    await cloud.annotate(resume="true")
    await cloud.ready()
    assert (await cloud.status())["placement"]["sequence"] == mark.sequence + 100


async def test_w3c_a_machine_that_somebody_removed_is_made_again(cloud: Cloud) -> None:
    uuid = await cloud.make(networks=[nic()])
    await cloud.ready()
    before = (await cloud.status())["networks"][0]
    cloud.faults.remove(await cloud.host_of(), uuid)
    await cloud.until_runs(uuid)
    await until(lambda: _runs(cloud, 2), 15.0, what="second run")
    after = (await cloud.status())["networks"][0]
    assert (after["macAddress"], after["addresses"]) == (before["macAddress"], before["addresses"])


async def _runs(cloud: Cloud, count: int) -> bool:
    return bool((await cloud.status()).get("runCount", 0) >= count)


async def test_w3c_it_is_not_made_again_while_a_host_is_silent(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    host = await cloud.host_of()
    cloud.faults.lose_host(other(host))
    await cloud.api.until_condition("Host", other(host), "Ready", "False", deadline=20.0)
    cloud.faults.cut_connections(host)
    cloud.faults.remove(host, uuid)
    waits = await cloud.ready("LocationUnknown", "False")
    assert other(host) in waits["message"]
    await cloud.settle()
    assert not cloud.faults.running(uuid)
    cloud.faults.return_host(other(host))
    await cloud.until_runs(uuid, 20.0)


async def test_w5_an_instance_of_a_silent_host_waits_and_goes_on_when_it_is_back(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    host = await cloud.host_of()
    cloud.faults.lose_host(host)
    told = await cloud.ready("HostUnreachable", "False")
    assert host in told["message"] and "outOfService" in told["message"]
    await cloud.settle()
    assert cloud.faults.running(uuid) == (host,)
    cloud.faults.return_host(host)
    await cloud.ready(deadline=20.0)
    assert (await cloud.status())["runCount"] == 1


async def test_w3_a_guest_whose_host_was_rebooted_is_started_again(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    cloud.faults.reboot_host(await cloud.host_of())
    await until(lambda: _runs(cloud, 2), 20.0, what="second run")
    await cloud.ready()
    assert len(cloud.faults.running(uuid)) == 1


async def test_h1_out_of_service_frees_what_the_host_held_once(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    host = await cloud.host_of()
    before = (await cloud.status())["placement"]["sequence"]
    cloud.faults.lose_host(host, power_loss=True)
    await cloud.api.until_condition("Host", host, "Ready", "False", deadline=20.0)
    await cloud.settle(1.2)
    declared = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    await cloud.api.patch("Host", host, {"spec": {"outOfService": {"declaredAt": declared}}})
    await until(lambda: _placed(cloud, other(host)), 20.0, what="placed elsewhere")
    await cloud.ready(deadline=20.0)
    assert cloud.faults.running(uuid) == (other(host),)
    assert (await cloud.status())["placement"]["sequence"] > before
    cloud.faults.return_host(host)
    await until(lambda: [d.host for d in cloud.domains(uuid)] == [other(host)], 20.0, what="old copy gone")


async def test_what_is_placed_first_goes_by_priority_and_then_by_age(cloud: Cloud) -> None:
    await cloud.operator_stops()
    for name, priority in (("old", 0), ("young", 0), ("important", 5)):
        placement = {"placement": {"priority": priority}} if priority else {}
        await cloud.make(name, runStrategy="Halted", **placement)
        await cloud.settle(1.1)  # Times of the API have whole seconds.
    await cloud.operator_starts()
    await cloud.ready("Stopped", name="old")
    kind = cloud.engine.wakes
    keys = [Key("Instance", "team-a", name) for name in ("old", "young", "important")]
    assert sorted(keys, key=kind.rank) == [keys[2], keys[0], keys[1]]


async def test_w6_a_guest_suspended_by_hand_is_left_alone(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    cloud.faults.suspend(await cloud.host_of(), uuid)
    await cloud.ready("GuestPaused", "False")
    await cloud.condition("GuestPaused", "PausedByHand")
    await cloud.operator_restarts()
    await cloud.settle()
    assert cloud.domain(uuid).power is Power.PAUSED


async def test_w6_a_start_that_a_dead_operator_left_paused_goes_on(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    await cloud.operator_stops()
    host = await cloud.host_of()
    cloud.faults.write_mark(host, uuid, replace(_mark(cloud, uuid), starting=2))
    cloud.faults.set_power(host, uuid, Power.PAUSED, Why.STARTED_PAUSED)
    await cloud.operator_starts()
    await until(lambda: _runs(cloud, 2), 15.0, what="second run")
    assert _mark(cloud, uuid).starting is None
    await cloud.ready()


async def test_w7_a_stopped_instance_starts_elsewhere_when_its_host_does_not_take_it(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    host = await cloud.host_of()
    await cloud.change(runStrategy="Halted")
    await cloud.ready("Stopped")
    await cloud.api.patch("Host", host, {"spec": {"maintenance": True}})
    await cloud.settle(0.5)
    await cloud.change(runStrategy="Always")
    await cloud.ready()
    assert [d.host for d in cloud.domains(uuid)] == [other(host)] and await cloud.host_of() == other(host)


async def _fields(cloud: Cloud, name: str = "web-1") -> tuple[object, ...]:
    """What the guest must find again; its CPU alone may be chosen anew at a cold start."""
    status = await cloud.status(name)
    hardware = {key: value for key, value in status["hardware"].items() if key != "cpu"}
    return tuple((n["macAddress"], n["addresses"]) for n in status["networks"]), hardware, status["uuid"]


async def test_w7_a_deleted_host_gives_its_stopped_instances_up_and_they_start_elsewhere(cloud: Cloud) -> None:
    uuid = await cloud.make(volumes=[managed("root")], networks=[nic()])
    await cloud.ready()
    host = await cloud.host_of()
    await cloud.change(runStrategy="Halted")
    await cloud.ready("Stopped")
    before = await _fields(cloud)
    await cloud.api.delete("Host", host)
    await until(lambda: _absent(cloud, "Host", host), 15.0, what="host gone")
    assert cloud.domains(uuid) == []
    await cloud.ready("Stopped")
    assert "host" not in (await cloud.status())["placement"]
    held = (await cloud.get("web-1-root", "Volume"))["status"]["attachments"]
    assert [a["instance"] for a in held] == ["web-1"]
    await cloud.operator_restarts()
    await cloud.change(runStrategy="Always")
    await cloud.ready(deadline=20.0)
    assert cloud.faults.running(uuid) == (other(host),) and await _fields(cloud) == before


async def test_w7_a_host_in_maintenance_is_emptied_of_what_is_stopped(cloud: Cloud) -> None:
    uuid = await cloud.make(volumes=[managed("root")])
    await cloud.ready()
    host = await cloud.host_of()
    await cloud.api.patch("Host", host, {"spec": {"maintenance": True}})
    await cloud.api.until_condition("Host", host, "Maintenance", "True", "DrainUnsupported")
    await cloud.change(runStrategy="Halted")
    await cloud.api.until_condition("Host", host, "Maintenance", "True", "Empty", deadline=15.0)
    assert cloud.domains(uuid) == []
    await cloud.delete()
    await cloud.gone()
    await cloud.gone("web-1-root", "Volume")


async def _absent(cloud: Cloud, kind: str, name: str) -> bool:
    return await cloud.api.get(kind, name) is None


async def test_a_pin_takes_effect_at_the_restart(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    host = await cloud.host_of()
    await cloud.change(placement={"hostRef": {"name": other(host)}})
    waits = await cloud.condition("RestartRequired")
    assert "spec.placement.hostRef" in waits["message"]
    await cloud.request("Restart")
    await until(lambda: _placed(cloud, other(host)), 15.0, what="moved")
    await cloud.ready()
    assert cloud.faults.running(uuid) == (other(host),)


async def test_a_line_that_breaks_for_a_moment_costs_the_guest_no_write(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controllers.fleet.fleet.SILENT_LISTINGS", 120)
    await cloud.operator_restarts()
    await cloud.make()
    await cloud.ready()
    before, host, looks = await cloud.get(), await cloud.host_of(), _looked()
    cloud.faults.lose_host(host)
    await cloud.api.until_condition("Host", host, "Ready", "False", deadline=20.0)
    await until(lambda: _looked() > looks, 10.0, what="looked at meanwhile")
    cloud.faults.return_host(host)
    await cloud.api.until_condition("Host", host, "Ready", "True", deadline=20.0)
    await cloud.settle()
    assert (await cloud.get())["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def _looked() -> float:
    labels = {"kind": "Instance", "result": "NotYet"}
    return metrics.REGISTRY.get_sample_value("stratiform_reconciles_total", labels) or 0.0
