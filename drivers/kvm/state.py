"""libvirt's domain states and reasons as Power and Why: one table. Used by `facts.py` and `actions.py`.

Only reasons that say that the run ended *here* become SHUTDOWN, DESTROYED or CRASHED (safety.md W3b). "failed" is not
one of them: libvirt also gives it to the incoming end of a migration that was cancelled, whose guest runs elsewhere.
"""

import libvirt

from drivers.base import Power, Why

_POWER = {
    libvirt.VIR_DOMAIN_RUNNING: Power.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: Power.RUNNING,
    libvirt.VIR_DOMAIN_SHUTDOWN: Power.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: Power.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: Power.PAUSED,
    libvirt.VIR_DOMAIN_SHUTOFF: Power.OFF,
    libvirt.VIR_DOMAIN_CRASHED: Power.CRASHED,
}

_RUNNING = {
    libvirt.VIR_DOMAIN_RUNNING_BOOTED: Why.BOOTED,
    libvirt.VIR_DOMAIN_RUNNING_MIGRATED: Why.BOOTED,
    libvirt.VIR_DOMAIN_RUNNING_UNPAUSED: Why.BOOTED,
    libvirt.VIR_DOMAIN_RUNNING_MIGRATION_CANCELED: Why.BOOTED,
    libvirt.VIR_DOMAIN_RUNNING_POSTCOPY: Why.MIGRATING,
    libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED: Why.MIGRATING,
}

_PAUSED = {
    libvirt.VIR_DOMAIN_PAUSED_USER: Why.STARTED_PAUSED,
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP: Why.STARTED_PAUSED,
    libvirt.VIR_DOMAIN_PAUSED_MIGRATION: Why.MIGRATING,
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY: Why.MIGRATING,
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED: Why.MIGRATING,
    libvirt.VIR_DOMAIN_PAUSED_IOERROR: Why.IO_ERROR,
    libvirt.VIR_DOMAIN_PAUSED_CRASHED: Why.CRASHED,
}

_OFF = {
    libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: Why.SHUTDOWN,
    libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: Why.DESTROYED,
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: Why.CRASHED,
    libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED: Why.MIGRATED,
}


def power_and_why(state: int, reason: int) -> tuple[Power, Why]:
    power = _POWER.get(state, Power.RUNNING)  # An unknown state is not one that lets another copy start.
    if power is Power.RUNNING:
        return power, _RUNNING.get(reason, Why.UNKNOWN)
    if power is Power.PAUSED:
        return power, _PAUSED.get(reason, Why.UNKNOWN) if state == libvirt.VIR_DOMAIN_PAUSED else Why.UNKNOWN
    if power is Power.CRASHED or reason == libvirt.VIR_DOMAIN_SHUTOFF_CRASHED:
        return Power.CRASHED, Why.CRASHED
    return power, _OFF.get(reason, Why.UNKNOWN)
