"""Run strategies and power requests against a guest that powers off, crashes, or loses its host."""

from datetime import UTC, datetime, timedelta

from tests.engine.harness import until
from tests.instances.cloud import Cloud


async def test_always_starts_a_guest_again_that_powered_itself_off(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    cloud.faults.power_off_guest(await cloud.host_of(), uuid)
    await until(lambda: _count(cloud, 2), 15.0, what="second run")
    await cloud.ready()
    assert (await cloud.status())["lastRun"].get("endedAt") is None


async def _count(cloud: Cloud, runs: int) -> bool:
    return bool((await cloud.status()).get("runCount", 0) >= runs)


async def test_w3b_a_crashed_guest_is_started_on_its_host_without_asking_the_others(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    host = await cloud.host_of()
    cloud.faults.lose_host("node-2" if host == "node-1" else "node-1")
    cloud.faults.crash_guest(host, uuid)
    await until(lambda: _count(cloud, 2), 15.0, what="second run")
    assert await cloud.until_runs(uuid) == host


async def test_a_guest_that_ends_again_and_again_is_started_more_slowly(cloud: Cloud) -> None:
    uuid = await cloud.make()
    await cloud.ready()
    for runs in (2, 3):
        cloud.faults.crash_guest(await cloud.host_of(), uuid)
        if runs == 2:
            await until(lambda: _count(cloud, 2), 15.0, what="second run")
    waits = await cloud.ready("CrashLoopBackOff", "False")
    assert "started again at" in waits["message"]


async def test_rerun_on_failure_leaves_a_guest_that_powered_itself_off(cloud: Cloud) -> None:
    uuid = await cloud.make(runStrategy="RerunOnFailure")
    await cloud.ready()
    cloud.faults.power_off_guest(await cloud.host_of(), uuid)
    await cloud.ready("Completed")
    cloud_status = await cloud.status()
    assert cloud_status["lastRun"]["reason"] == "GuestShutdown" and cloud_status["runCount"] == 1


async def test_rerun_on_failure_starts_a_crashed_guest(cloud: Cloud) -> None:
    uuid = await cloud.make(runStrategy="RerunOnFailure")
    await cloud.ready()
    cloud.faults.crash_guest(await cloud.host_of(), uuid)
    await until(lambda: _count(cloud, 2), 15.0, what="second run")


async def test_once_is_never_started_again(cloud: Cloud) -> None:
    uuid = await cloud.make(runStrategy="Once")
    await cloud.ready()
    cloud.faults.crash_guest(await cloud.host_of(), uuid)
    await cloud.ready("Failed", "False")
    await cloud.operator_restarts()
    await cloud.settle()
    assert not cloud.faults.running(uuid) and (await cloud.status())["runCount"] == 1


async def test_halted_is_shut_down_and_its_domain_stays_defined(cloud: Cloud) -> None:  # M3
    uuid = await cloud.make()
    await cloud.ready()
    await cloud.change(runStrategy="Halted")
    await cloud.ready("Stopped")
    domain = cloud.domain(uuid)
    assert domain.power == "Off" and not domain.autostart
    assert (await cloud.status())["lastRun"]["reason"] == "Stopped"
    await cloud.change(runStrategy="Always")
    await cloud.ready()
    assert cloud.domain(uuid).host == domain.host


async def test_halted_from_the_beginning_makes_nothing(cloud: Cloud) -> None:
    uuid = await cloud.make(runStrategy="Halted")
    await cloud.ready("Stopped")
    assert cloud.domains(uuid) == [] and "placement" not in await cloud.status()


async def test_a_guest_that_ignores_the_button_loses_its_power_after_the_grace(cloud: Cloud) -> None:
    uuid = await cloud.make(shutdown={"gracePeriodSeconds": 2})
    await cloud.ready()
    cloud.faults.guest(uuid, shutdown=None)
    await cloud.change(runStrategy="Halted")
    waits = await cloud.ready("Stopping", "False")
    assert "its power is cut at" in waits["message"]
    await cloud.operator_restarts()
    await cloud.ready("Stopped")
    assert not cloud.faults.running(uuid)


# ---------------------------------------------------------------- power requests


async def test_manual_is_started_stopped_and_left_alone(cloud: Cloud) -> None:
    uuid = await cloud.make(runStrategy="Manual")
    await cloud.ready("Stopped")
    await cloud.request("Start")
    await cloud.ready()
    await cloud.until_runs(uuid)
    assert (await cloud.status())["lastPowerRequest"]["action"] == "Start"
    await cloud.request("Stop")
    await cloud.ready("Stopped")
    await cloud.request("Start")
    await cloud.ready()
    cloud.faults.crash_guest(await cloud.host_of(), uuid)
    await cloud.ready("Ended", "False")
    await cloud.settle()
    assert not cloud.faults.running(uuid)


async def test_a_restart_is_done_once(cloud: Cloud) -> None:
    await cloud.make()
    await cloud.ready()
    moment = await cloud.request("Restart")
    await until(lambda: _count(cloud, 2), 15.0, what="second run")
    await cloud.ready()
    await cloud.operator_restarts()
    await cloud.ready()
    await cloud.settle()
    status = await cloud.status()
    assert status["runCount"] == 2 and status["lastPowerRequest"]["requestedAt"] == moment
    assert status["lastPowerRequest"].get("doneAt")


async def test_m4_a_done_restart_is_not_done_again_after_the_status_was_lost(cloud: Cloud) -> None:
    await cloud.make()
    await cloud.ready()
    await cloud.request("Restart")
    await until(lambda: _count(cloud, 2), 15.0, what="second run")
    await cloud.ready()
    await cloud.operator_stops()
    await cloud.wipe_status()
    await cloud.operator_starts()
    await cloud.ready()
    await cloud.settle()
    assert (await cloud.status())["runCount"] == 2


async def test_a_restart_survives_the_operator_between_stop_and_start(cloud: Cloud) -> None:
    uuid = await cloud.make(shutdown={"gracePeriodSeconds": 30})
    await cloud.ready()
    cloud.faults.guest(uuid, shutdown=2.0)
    await cloud.request("Restart")
    await cloud.ready("Stopping", "False")
    await cloud.operator_stops()
    await cloud.until_off(uuid)
    await cloud.operator_starts()
    await until(lambda: _count(cloud, 2), 20.0, what="second run")
    await cloud.ready()
    assert (await cloud.status())["runCount"] == 2


async def test_a_reset_keeps_the_run(cloud: Cloud) -> None:
    await cloud.make()
    await cloud.ready()
    await cloud.request("Reset")
    await until(lambda: _done(cloud, "Reset"), 10.0, what="reset done")
    assert (await cloud.status())["runCount"] == 1


async def _done(cloud: Cloud, action: str) -> bool:
    done = (await cloud.status()).get("lastPowerRequest", {})
    return bool(done.get("action") == action and done.get("doneAt"))


async def test_force_stop_under_rerun_on_failure_stays_off(cloud: Cloud) -> None:
    uuid = await cloud.make(runStrategy="RerunOnFailure")
    await cloud.ready()
    await cloud.request("ForceStop")
    await cloud.ready("Completed")
    await cloud.settle()
    assert not cloud.faults.running(uuid)


async def test_a_request_for_the_future_is_refused_and_not_recorded(cloud: Cloud) -> None:
    await cloud.make()
    await cloud.ready()
    await cloud.request("Restart", at=datetime.now(UTC) + timedelta(hours=1))
    await cloud.condition("Synced", "PowerRequestAhead", "False")
    status = await cloud.status()
    assert "lastPowerRequest" not in status and status["runCount"] == 1
    assert (await cloud.condition("Ready", "Running"))["status"] == "True"


async def test_a_request_that_the_strategy_forbids_is_refused_with_what_to_do(cloud: Cloud) -> None:
    await cloud.make(runStrategy="Halted")
    await cloud.ready("Stopped")
    await cloud.request("Restart")
    refused = await cloud.condition("Synced", "PowerRequestRefused", "False")
    assert "set spec.runStrategy to Always" in refused["message"]
