"""The table of run strategies, power requests and ends of runs."""

from datetime import UTC, datetime, timedelta

import pytest

from controllers.logic.power import Standing, judge
from controllers.logic.runstrategy import Aim, Past, aim, how_it_ended
from crds.instance import Power as PowerRequest
from crds.instancestatus import PowerRequestDone
from drivers.base import InstanceFacts, Power, Why
from tests.logic.machines import off, running

NEVER = Past()
ENDED = {
    reason: Past(runs=1, ended=reason) for reason in ("GuestShutdown", "Crashed", "Stopped", "HostLost", "Unknown")
}
RUNNING = Past(runs=1)

TABLE: list[tuple[str, Past, bool, Aim]] = [
    ("Always", NEVER, False, Aim.RUN),
    ("Always", RUNNING, True, Aim.RUN),
    *[("Always", past, False, Aim.RUN) for past in ENDED.values()],
    ("RerunOnFailure", NEVER, False, Aim.RUN),
    ("RerunOnFailure", RUNNING, True, Aim.RUN),
    ("RerunOnFailure", ENDED["GuestShutdown"], False, Aim.LEAVE),
    ("RerunOnFailure", ENDED["Crashed"], False, Aim.RUN),
    ("RerunOnFailure", ENDED["HostLost"], False, Aim.RUN),
    ("RerunOnFailure", ENDED["Unknown"], False, Aim.RUN),
    ("RerunOnFailure", ENDED["Stopped"], False, Aim.RUN),
    ("RerunOnFailure", Past(runs=1, ended="Stopped", on_request=True), False, Aim.LEAVE),
    ("Once", NEVER, False, Aim.RUN),
    ("Once", RUNNING, True, Aim.RUN),
    *[("Once", past, False, Aim.LEAVE) for past in ENDED.values()],
    ("Manual", NEVER, False, Aim.LEAVE),
    ("Manual", RUNNING, True, Aim.LEAVE),
    *[("Manual", past, False, Aim.LEAVE) for past in ENDED.values()],
    ("Halted", NEVER, False, Aim.STOP),
    ("Halted", RUNNING, True, Aim.STOP),
    *[("Halted", past, False, Aim.STOP) for past in ENDED.values()],
]


@pytest.mark.parametrize(
    ("strategy", "past", "active", "expected"), TABLE,
    ids=[f"{s} {'running' if a else (p.ended or 'never ran')}{' on request' if p.on_request else ''} → {e}" for s, p,
    a, e in TABLE],
)  # fmt: skip
def test_strategy(strategy: str, past: Past, active: bool, expected: Aim) -> None:
    assert aim(strategy, "", past, is_active=active, restarted=False) is expected


@pytest.mark.parametrize(
    ("strategy", "request_", "active", "restarted", "expected"),
    [
        ("Manual", "Start", False, False, Aim.RUN),
        ("Manual", "Stop", True, False, Aim.STOP),
        ("Manual", "ForceStop", True, False, Aim.FORCE_OFF),
        ("Manual", "Restart", True, False, Aim.RESTART),
        ("Manual", "Restart", False, False, Aim.RUN),
        ("Manual", "Restart", True, True, Aim.RUN),
        ("Manual", "Reset", True, False, Aim.RESET),
        ("Manual", "Reset", False, False, Aim.LEAVE),
        ("Always", "ForceStop", True, False, Aim.RESET),
        ("Always", "ForceStop", False, False, Aim.RUN),
        ("Always", "Restart", True, False, Aim.RESTART),
        ("Always", "Restart", True, True, Aim.RUN),
        ("Halted", "ForceStop", True, False, Aim.FORCE_OFF),
        ("RerunOnFailure", "ForceStop", True, False, Aim.FORCE_OFF),
    ],
)
def test_request(strategy: str, request_: str, active: bool, restarted: bool, expected: Aim) -> None:
    assert aim(strategy, request_, RUNNING, is_active=active, restarted=restarted) is expected


@pytest.mark.parametrize(
    ("facts", "stopping", "reason"),
    [
        (off(), True, "Stopped"),
        (off(), False, "GuestShutdown"),
        (off(why=Why.DESTROYED), True, "Stopped"),
        (off(why=Why.DESTROYED), False, "Unknown"),
        (off(why=Why.CRASHED, power=Power.CRASHED), True, "Crashed"),
        (off(why=Why.UNKNOWN), False, "HostLost"),
        (off(why=Why.MIGRATED), False, "Unknown"),
        (None, False, "Unknown"),
    ],
)
def test_how_a_run_ended(facts: InstanceFacts | None, stopping: bool, reason: str) -> None:
    assert how_it_ended(facts, stopping=stopping) == reason
    assert running().power is Power.RUNNING


CREATED = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
NOW = CREATED + timedelta(hours=1)


@pytest.mark.parametrize(
    ("strategy", "action", "at", "last", "standing"),
    [
        ("Always", "Restart", NOW, None, Standing.PENDING),
        ("Always", "Restart", CREATED, None, Standing.NONE),
        ("Always", "Restart", NOW, ("Restart", NOW), Standing.NONE),
        ("Always", "Restart", NOW, ("Unknown", NOW), Standing.NONE),
        ("Manual", "ForceStop", NOW, ("Start", NOW), Standing.PENDING),
        ("Always", "Restart", NOW - timedelta(minutes=1), ("Reset", NOW), Standing.NONE),
        ("Always", "Restart", NOW + timedelta(minutes=4), None, Standing.PENDING),
        ("Always", "Restart", NOW + timedelta(minutes=6), None, Standing.AHEAD),
        ("Always", "Start", NOW, None, Standing.REFUSED),
        ("Always", "Stop", NOW, None, Standing.REFUSED),
        ("Manual", "Start", NOW, None, Standing.PENDING),
        ("Manual", "Stop", NOW, None, Standing.PENDING),
        ("Once", "Restart", NOW, None, Standing.REFUSED),
        ("Halted", "Restart", NOW, None, Standing.REFUSED),
        ("Halted", "Reset", NOW, None, Standing.REFUSED),
        ("Halted", "ForceStop", NOW, None, Standing.PENDING),
    ],
)
def test_whether_a_request_is_done(
    strategy: str, action: str, at: datetime, last: tuple[str, datetime] | None, standing: Standing
) -> None:
    request = PowerRequest(action=action, requested_at=at)  # type: ignore[arg-type]
    done = PowerRequestDone(action=last[0], requested_at=last[1], done_at=last[1]) if last else None
    found = judge(request, strategy, created_at=CREATED, last_done=done, now=NOW)
    assert found.standing is standing
    assert bool(found.message) == (standing in (Standing.REFUSED, Standing.AHEAD))


def test_no_request_is_nothing() -> None:
    assert judge(None, "Always", created_at=CREATED, last_done=None, now=NOW).standing is Standing.NONE
