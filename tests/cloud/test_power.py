"""Buttons and ends of runs, on one guest that boots by UEFI: what is asked for is done once, and what ends by itself
goes by the run strategy."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cloud.cloud import Cloud, guest
from tests.cluster import until


@pytest.fixture(scope="module", autouse=True)
def power(cloud: Cloud) -> Iterator[None]:
    cloud.cluster.apply(guest("power", firmware={"type": "UEFI"}))
    yield
    cloud.cluster.remove("instance/power")


def boots(cloud: Cloud) -> int:
    """How often its boot disk was booted from."""
    return int(cloud.shell("power", "cat /run/boots"))


def runs_again(cloud: Cloud, runs: int) -> dict[str, Any]:
    return cloud.until_status("power", f"run {runs}", lambda s: s["runCount"] == runs and s["state"] == "Running")


def test_a_uefi_guest_keeps_its_variables_beside_its_boot_disk(cloud: Cloud) -> None:
    status = cloud.await_instance("power")
    assert status["hardware"]["firmware"] == "UEFI"
    assert "boot" in cloud.shell("power", "ls /sys/firmware/efi/efivars | tr A-Z a-z")
    root = cloud.volume_uuid("power-root")
    assert f"{root}-1.nvram" in cloud.disk_files(root)  # D5


def test_reset_presses_the_button_once(cloud: Cloud) -> None:
    before = cloud.instance("power")
    cloud.request("power", "Reset")
    done = cloud.until_status("power", "a Reset", lambda s: s.get("lastPowerRequest", {}).get("action") == "Reset")
    until(lambda: boots(cloud) == 2, 150)
    after = cloud.instance("power")
    assert after["runCount"] == before["runCount"] == 1
    assert after["lastPowerRequest"] == done["lastPowerRequest"]


def test_under_always_a_guest_that_powers_itself_off_is_started_again(cloud: Cloud) -> None:
    cloud.shell("power", "(sleep 1; shutdown -P) >/dev/null 2>&1 &")
    after = runs_again(cloud, 2)
    assert boots(cloud) == 3
    assert "GuestPoweredOff" in cloud.cluster.story("instance", "power")
    assert after["lastRun"].get("endedAt") is None


def test_start_is_refused_where_the_strategy_runs_it_anyway(cloud: Cloud) -> None:
    cloud.request("power", "Start")
    said = cloud.cluster.await_condition("instance", "power", "Synced", status="False", reason="PowerRequestRefused")[
        "message"
    ]
    assert "Start is not possible with spec.runStrategy Always" in said
    assert cloud.instance("power")["lastPowerRequest"]["action"] != "Start"


def test_force_stop_cuts_the_power_and_start_starts_under_manual(cloud: Cloud) -> None:
    cloud.cluster.patch("instance", "power", {"runStrategy": "Manual"})
    cloud.request("power", "ForceStop")
    cloud.await_instance("power", "Stopped")
    status = cloud.instance("power")
    assert status["lastRun"]["reason"] == "Stopped"
    assert cloud.hosts_of(status["uuid"], "--state-running") == []
    cloud.request("power", "Start")
    runs_again(cloud, 3)
    assert boots(cloud) == 4


def test_under_rerun_on_failure_a_guest_that_powers_itself_off_stays_off(cloud: Cloud) -> None:
    cloud.cluster.patch("instance", "power", {"runStrategy": "RerunOnFailure"})
    cloud.await_instance("power")
    cloud.shell("power", "(sleep 1; shutdown -P) >/dev/null 2>&1 &")
    cloud.await_instance("power", "Completed")
    assert cloud.runs("power") == 3
    assert cloud.instance("power")["lastRun"]["reason"] == "GuestShutdown"


def test_its_variables_go_with_its_disk(cloud: Cloud) -> None:
    root = cloud.volume_uuid("power-root")
    cloud.cluster.delete("instance", "power")
    cloud.cluster.await_gone("instance", "power")
    cloud.cluster.await_gone("volume", "power-root")
    assert cloud.disk_files(root) == []
