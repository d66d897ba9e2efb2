"""Buttons and ends of runs: what is asked for is done once, and what ends by itself goes by the run strategy."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cloud.cloud import BOOT, Cloud, guest
from tests.cluster import until


@pytest.fixture(scope="module", autouse=True)
def power(cloud: Cloud) -> Iterator[None]:
    cloud.cluster.apply(guest("power"))
    cloud.await_instance("power")
    yield
    cloud.cluster.remove("instance/power", "instance/modern")


def boots(cloud: Cloud) -> int:
    """How often its boot disk was booted from."""
    return int(cloud.shell("power", "cat /run/boots"))


def runs_again(cloud: Cloud, runs: int) -> dict[str, Any]:
    return cloud.until_status("power", f"run {runs}", lambda s: s["runCount"] == runs and s["state"] == "Running")


def test_reset_presses_the_button_once(cloud: Cloud) -> None:
    before = cloud.instance("power")
    assert boots(cloud) == 1
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


def test_a_uefi_guest_boots_and_its_variables_live_beside_its_boot_disk(cloud: Cloud) -> None:
    """With more memory than the others: below 128Mi this firmware crashes while it starts the kernel."""
    cloud.cluster.remove("instance/power")
    cloud.cluster.apply(guest("modern", firmware={"type": "UEFI"}, resources={"cpus": 1, "memory": "192Mi"}))
    assert cloud.await_instance("modern")["hardware"]["firmware"] == "UEFI"
    root = cloud.volume_uuid("modern-root")
    assert f"{root}-1.nvram" in cloud.disk_files(root)  # D5
    assert "boot" in cloud.shell("modern", "ls /sys/firmware/efi/efivars | tr A-Z a-z", 2 * BOOT)
    cloud.cluster.delete("instance", "modern")
    cloud.cluster.await_gone("instance", "modern")
    cloud.cluster.await_gone("volume", "modern-root")
    assert cloud.disk_files(root) == []
