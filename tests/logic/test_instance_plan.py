"""The next step of an instance on its own host: every state a domain can be in, against everything that may be
wanted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controllers.logic.instance import (
    Ask,
    CutPower,
    DefineForStart,
    FinishStart,
    LetRun,
    Prepare,
    PressReset,
    Rest,
    Situation,
    Start,
    Tend,
    Wait,
    may_run,
    plan,
)
from controllers.logic.runstrategy import Aim
from drivers.base import InstanceFacts, Power, Why
from tests.logic.machines import off, paused, running

NOW = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
RUN = Situation(aim=Aim.RUN, now=NOW, sequence=100, runs=1)
FIRST = replace(RUN, decided_first=True, runs=0)


def at(**changes: Any) -> Situation:
    return replace(RUN, **changes)


CASES: list[tuple[str, InstanceFacts | None, Situation, type[object]]] = [
    ("one that was never placed is prepared, which places it", None, at(placed=False), Prepare),
    ("W3a: the first start of who decided it is prepared", None, FIRST, Prepare),
    ("a prepared start is defined", None, replace(FIRST, prepared=True), DefineForStart),
    ("a start defined in this turn is started paused", off(why=Why.UNKNOWN, starting=1), replace(FIRST, prepared=True,
    defined=True), Start),
    ("W6: a definition that bears the mark of another run is not started", off(starting=1), at(prepared=True,
    defined=True), DefineForStart),
    ("W6: nor one without: it would stay paused as an administrator's", off(), at(prepared=True, defined=True),
    DefineForStart),
    ("one defined by a process that died is defined again first", off(why=Why.UNKNOWN, starting=1), replace(FIRST,
    prepared=True), DefineForStart),
    ("W3: missing and not clear waits", None, at(), Wait),
    ("W3c: missing and clear everywhere is prepared", None, at(clear=True), Prepare),
    ("W3b: shut down on its own host may start", off(), at(), Prepare),
    ("W3b: destroyed on its own host may start", off(why=Why.DESTROYED), at(), Prepare),
    ("W3b: one of two copies ended, the other was not looked for yet", off(), at(ran_twice=True), Wait),
    ("W3: ended here, and seen running elsewhere since, waits", off(), at(elsewhere="node-2"), Wait),
    ("W3: paused in our own start, and seen running elsewhere since, waits", paused(starting=2),
    at(decided_first=True, elsewhere="node-2"), Wait),
    ("W3b: crashed on its own host may start", off(why=Why.CRASHED, power=Power.CRASHED), at(), Prepare),
    ("W3b: off without a reason waits for the others", off(why=Why.UNKNOWN), at(), Wait),
    ("W3b: off because it was migrated away waits for the others", off(why=Why.MIGRATED), at(), Wait),
    ("W3b: off under an older sequence waits for the others", off(sequence=99), at(), Wait),
    ("W3c: off without a reason and clear is prepared", off(why=Why.UNKNOWN), at(clear=True), Prepare),
    ("W6: paused in our own start is resumed where W3 allows it", paused(starting=2), at(decided_first=True), LetRun),
    ("W6: paused in a dead process's start is resumed where all others are clear", paused(starting=2),
    at(clear=True), LetRun),
    ("W6: paused in our own start waits when W3 does not allow it", paused(starting=2), at(), Wait),
    ("W6: paused in a start that is not wanted any more is cut", paused(starting=2), at(aim=Aim.STOP), CutPower),
    ("W6: paused by an administrator is left alone", paused(), at(clear=True), Wait),
    ("paused by the hypervisor after an I/O error is left alone", paused(why=Why.IO_ERROR), at(), Wait),
    ("W6: what runs with starting in its mark is counted", running(starting=2), at(), FinishStart),
    ("W6: also when it shall stop", running(starting=2), at(aim=Aim.STOP), FinishStart),
    ("what runs and shall run is tended", running(), at(), Tend),
    ("what runs and may be as it is is tended", running(), at(aim=Aim.LEAVE), Tend),
    ("what runs and shall stop is asked first", running(), at(aim=Aim.STOP), Ask),
    ("within the grace period it is waited for", running(), at(aim=Aim.STOP, asked_at=NOW - timedelta(seconds=5)),
    Wait),
    ("after the grace period its power is cut", running(), at(aim=Aim.STOP, asked_at=NOW - timedelta(seconds=60)),
    CutPower),
    ("without a grace period its power is cut at the next look", running(), at(aim=Aim.STOP, asked_at=NOW,
    grace=timedelta(0)), CutPower),
    ("a restart stops first", running(), at(aim=Aim.RESTART), Ask),
    ("a forced stop cuts at once", running(), at(aim=Aim.FORCE_OFF), CutPower),
    ("a reset presses the button", running(), at(aim=Aim.RESET), PressReset),
    ("one paused by hand that shall stop is given its grace", paused(), at(aim=Aim.STOP), Ask),
    ("one paused by hand is cut after its grace", paused(), at(aim=Aim.STOP, asked_at=NOW - timedelta(minutes=5)),
    CutPower),
    ("off and to be off rests", off(), at(aim=Aim.STOP), Rest),
    ("off and to be as it is rests", off(), at(aim=Aim.LEAVE), Rest),
    ("missing and to be off rests", None, at(aim=Aim.STOP), Rest),
    ("after quick ends it waits", off(), at(not_before=NOW + timedelta(seconds=10), quick_ends=2), Wait),
    ("after the back-off it starts again", off(), at(not_before=NOW, quick_ends=2), Prepare),
    ("W4: what migrates is left alone", running(), at(), Tend),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "situation", "step"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_next_step(facts: InstanceFacts | None, situation: Situation, step: type[object]) -> None:
    assert isinstance(plan(facts, situation), step)


@pytest.mark.parametrize("aim", list(Aim))
@pytest.mark.parametrize("power", [Power.RUNNING, Power.PAUSED])
def test_w4_a_migration_is_never_disturbed(aim: Aim, power: Power) -> None:
    facts = replace(running(), power=power, why=Why.MIGRATING)
    step = plan(facts, at(aim=aim, clear=True, decided_first=True))
    assert isinstance(step, Wait) and step.reason == "Migrating"


def test_a_wait_for_clear_hosts_names_them_and_asks_for_rounds() -> None:
    step = plan(None, at(waiting_for=("node-2", "node-3")))
    assert isinstance(step, Wait)
    assert step.rounds and "node-2, node-3" in step.message and "outOfService" in step.message


def test_a_start_counts_its_run() -> None:
    step = plan(off(), at(prepared=True, runs=7))
    assert step == DefineForStart(8)


def test_the_wish_to_shut_down_is_repeated_before_the_grace_ends() -> None:
    step = plan(running(), at(aim=Aim.STOP, asked_at=NOW - timedelta(seconds=5)))
    assert isinstance(step, Wait) and step.until == NOW + timedelta(seconds=5)


@pytest.mark.parametrize("facts", [None, off(why=Why.UNKNOWN), off(sequence=99), paused(starting=2)])
def test_w3_nothing_is_started_or_resumed_without_a_reason_to_know(facts: InstanceFacts | None) -> None:
    for prepared in (False, True):
        for defined in (False, True):
            situation = at(prepared=prepared, defined=defined)
            assert not may_run(facts, situation)
            assert not isinstance(plan(facts, situation), Prepare | DefineForStart | Start | LetRun)
