"""Which copy counts, and what is done about the others (safety.md W2, W4, W5, N3)."""

from dataclasses import replace

import pytest

from controllers.logic.location import Follow, Here, Hold, Lost, Owner, Stale, Unseen, Verdict, locate
from drivers.base import InstanceFacts, Why
from tests.logic.machines import DOMAIN, MARK, off, paused, running

OWNER = Owner(uid="uid-1", installations=("here", "before"))
PLACED = ("node-1", 100)


def seen(
    *facts: InstanceFacts, placement: tuple[str, int] | None = PLACED, listed: bool = True, resume: bool = False,
    unheard: tuple[InstanceFacts, ...] = (),
) -> Verdict:  # fmt: skip
    silent = {f.host: f for f in unheard}
    return locate(OWNER, placement, {f.host: f for f in facts}, silent, listed=listed, resume=resume)


def test_on_its_own_host_it_is_here() -> None:
    assert seen(running()) == Here(running())


def test_missing_on_its_own_host_is_here_with_nothing() -> None:
    assert seen() == Here(None)


def test_w5_of_a_host_that_does_not_answer_nothing_is_said() -> None:
    assert seen(listed=False) == Unseen("node-1")


def test_w4_a_running_copy_of_the_same_sequence_elsewhere_is_followed() -> None:
    verdict = seen(running("node-2"))
    assert isinstance(verdict, Follow) and (verdict.host, verdict.sequence) == ("node-2", 100)


def test_w4_it_is_followed_also_while_its_own_host_does_not_answer() -> None:
    assert isinstance(seen(running("node-2"), listed=False), Follow)


@pytest.mark.parametrize("here", [(), (off("node-1"),), (running("node-1"),)])
def test_w4_what_ran_twice_is_held_while_one_of_the_two_hosts_is_silent(here: tuple[InstanceFacts, ...]) -> None:
    """Found: the copy that could still be seen was taken for the only one."""
    verdict = seen(*here, unheard=(running("node-2"),))
    assert isinstance(verdict, Hold) and verdict.reason == "HostUnreachable" and "Host node-2" in verdict.message
    assert isinstance(seen(running("node-2"), listed=False, unheard=(running("node-1"),)), Hold)


def test_w4_what_a_silent_host_had_before_holds_nothing() -> None:
    assert seen(running(), unheard=(running("node-2", sequence=99), off("node-3"))) == Here(running())


def test_w5_its_own_host_alone_is_silent() -> None:
    assert seen(listed=False, unheard=(running("node-1"),)) == Unseen("node-1")


def test_w2_one_whose_status_was_lost_is_not_followed_while_a_silent_host_may_run_it() -> None:
    assert isinstance(seen(running("node-2"), placement=None, unheard=(running("node-1"),)), Hold)


def test_w4_of_two_the_running_one_counts() -> None:
    assert isinstance(seen(off("node-1", Why.MIGRATED), running("node-2")), Follow)


def test_w4_a_quiet_copy_elsewhere_is_followed_when_its_own_host_has_none() -> None:
    assert isinstance(seen(off("node-2")), Follow)


def test_w4_a_quiet_copy_elsewhere_is_not_believed_while_its_own_host_is_silent() -> None:
    assert seen(off("node-2"), listed=False) == Unseen("node-1")


def test_w4_a_paused_start_beside_the_running_one_is_stale() -> None:
    verdict = seen(running("node-1"), paused("node-2", starting=2))
    assert verdict == Here(running("node-1"), (Stale("node-2", 100, destroy=True),))


def test_w4_a_left_over_definition_beside_the_running_one_is_undefined() -> None:
    assert seen(running("node-1"), off("node-2")) == Here(running("node-1"), (Stale("node-2", 100, destroy=False),))


def test_w4_a_left_over_definition_is_left_while_nothing_runs() -> None:
    assert seen(off("node-1"), off("node-2")) == Here(off("node-1"), ())


@pytest.mark.parametrize(
    "copy", [running("node-2", sequence=99), off("node-2", sequence=99), paused("node-2", sequence=99)]
)
def test_w4_a_lower_copy_is_destroyed_once_the_current_one_is_seen(copy: InstanceFacts) -> None:
    assert seen(off("node-1"), copy) == Here(off("node-1"), (Stale("node-2", 99, destroy=True),))


def test_w4_a_lower_copy_is_never_destroyed_while_the_current_host_is_silent() -> None:
    assert seen(running("node-2", sequence=99), listed=False) == Unseen("node-1")


def test_w4_a_lower_copy_is_never_destroyed_in_a_migration() -> None:
    moving = replace(running("node-2", sequence=99), why=Why.MIGRATING)
    assert seen(running("node-1"), moving) == Here(running("node-1"), ())


def test_h1_a_copy_of_a_host_that_came_back_goes_when_the_current_one_was_never_made() -> None:
    assert seen(running("node-2", sequence=99)) == Here(None, (Stale("node-2", 99, destroy=True),))


def test_w4_a_lower_copy_on_its_own_host_is_destroyed() -> None:
    old = running("node-1", sequence=99)
    assert seen(old) == Here(old, (Stale("node-1", 99, destroy=True),))


def test_w4_a_higher_copy_means_that_the_api_went_back_in_time() -> None:
    verdict = seen(running("node-2", sequence=101))
    assert isinstance(verdict, Hold) and verdict.reason == "AheadOfAPI" and "stratiform.dev/resume" in verdict.message


def test_w4_resumed_it_takes_the_higher_record() -> None:
    verdict = seen(running("node-2", sequence=101), resume=True)
    assert isinstance(verdict, Follow) and (verdict.host, verdict.sequence) == ("node-2", 101)


def test_w4_two_that_run_under_one_sequence_are_left_alone() -> None:
    verdict = seen(running("node-1"), running("node-2"))
    assert isinstance(verdict, Hold) and verdict.reason == "RunsTwice" and verdict.stalled


def test_w4_the_two_ends_of_a_migration_are_not_two() -> None:
    source = replace(running("node-1"), why=Why.MIGRATING)
    target = replace(paused("node-2"), why=Why.MIGRATING)
    assert seen(source, target) == Here(source, ())


def test_w2_a_lost_status_is_found_running() -> None:
    verdict = seen(running("node-2"), placement=None)
    assert isinstance(verdict, Follow) and (verdict.host, verdict.sequence) == ("node-2", 100)


def test_w2_a_quiet_copy_is_adopted_only_when_others_are_clear() -> None:
    verdict = seen(off("node-2"), placement=None)
    assert isinstance(verdict, Lost) and verdict.found is not None and verdict.found.host == "node-2"


def test_w2_nothing_found_is_lost() -> None:
    assert seen(placement=None) == Lost()


def test_w2_of_several_the_newest_record_that_runs_counts() -> None:
    verdict = seen(running("node-1", sequence=99), running("node-2"), placement=None)
    assert isinstance(verdict, Follow) and verdict.host == "node-2"


def test_w2_two_that_run_under_one_sequence_are_left_alone() -> None:
    verdict = seen(running("node-1"), running("node-2"), placement=None)
    assert isinstance(verdict, Hold) and verdict.reason == "RunsTwice"


def test_n1_marks_of_an_installation_taken_over_count() -> None:
    taken = running(installation="before")
    assert seen(taken) == Here(taken)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (replace(DOMAIN, mark=None), "NotOurs"),
        (replace(DOMAIN, mark=None, unreadable=True), "MarkUnreadable"),
        (replace(DOMAIN, mark=replace(MARK, uid="uid-2")), "NotOurs"),
        (replace(DOMAIN, mark=replace(MARK, installation="elsewhere")), "NotOurs"),
    ],
    ids=["N1 unmarked", "M2 unreadable", "N2 of another uid", "N1 of another installation"],
)
def test_what_is_not_ours_under_our_uuid_holds_everything(facts: InstanceFacts, reason: str) -> None:
    verdict = seen(facts)
    assert isinstance(verdict, Hold) and verdict.reason == reason
