"""libvirt's states and reasons as ours: what counts as a run that ended here (safety.md W3b) and what does not."""

import libvirt
import pytest

from drivers.base import Power, Why
from drivers.kvm.state import power_and_why

TABLE = {
    "running": (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED, Power.RUNNING, Why.BOOTED),
    "being shut down": (libvirt.VIR_DOMAIN_SHUTDOWN, 0, Power.RUNNING, Why.UNKNOWN),
    "paused by somebody": (
        libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER, Power.PAUSED, Why.STARTED_PAUSED
    ),
    "paused in a migration": (
        libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION, Power.PAUSED, Why.MIGRATING
    ),
    "paused by a full disk": (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR, Power.PAUSED, Why.IO_ERROR),
    "shut down": (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN, Power.OFF, Why.SHUTDOWN),
    "powered off": (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED, Power.OFF, Why.DESTROYED),
    "crashed": (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, Power.CRASHED, Why.CRASHED),
    "preserved after a crash": (libvirt.VIR_DOMAIN_CRASHED, 0, Power.CRASHED, Why.CRASHED),
    "moved away": (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED, Power.OFF, Why.MIGRATED),
    "saved": (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SAVED, Power.OFF, Why.UNKNOWN),
    "a start or an incoming migration that failed": (
        libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED, Power.OFF, Why.UNKNOWN
    ),
    "off since before libvirtd": (
        libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN, Power.OFF, Why.UNKNOWN
    ),
    "a state of a later libvirt": (99, 99, Power.RUNNING, Why.UNKNOWN),
}  # fmt: skip


@pytest.mark.parametrize("what", TABLE)
def test_w3_a_state_means(what: str) -> None:
    state, reason, power, why = TABLE[what]
    assert power_and_why(state, reason) == (power, why)
