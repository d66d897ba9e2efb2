"""Hosts that would not start an instance are avoided for a time that grows, and are not forgotten."""

from datetime import UTC, datetime, timedelta

from controllers.logic.attempts import LONGEST_PAUSE, MOST, avoided, with_failure
from crds.instancestatus import FailedStart

NOW = datetime(2026, 11, 25, 10, 0, 0, 400_000, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_a_host_is_avoided_for_a_time_and_then_tried_again() -> None:
    failed = with_failure((), "node-1", NOW, "NoSpace", "no room")
    assert avoided(failed, NOW) == {"node-1"}
    assert avoided(failed, later(7)) == {"node-1"}
    assert avoided(failed, later(8)) == frozenset()


def test_the_time_doubles_with_each_failure_of_the_same_host_and_has_an_end() -> None:
    failed: tuple[FailedStart, ...] = ()
    pauses = []
    for _ in range(12):
        failed = with_failure(failed, "node-1", NOW, "Invalid", "no")
        pauses.append((failed[0].until - failed[0].at).total_seconds())
    assert pauses[:4] == [8.0, 16.0, 32.0, 64.0]
    assert max(pauses) == LONGEST_PAUSE.total_seconds()


def test_what_one_host_does_says_nothing_of_another() -> None:
    failed = with_failure((), "node-2", NOW, "Invalid", "no")
    failed = with_failure(failed, "node-1", later(4), "Invalid", "no either")
    assert [(f.host, f.times) for f in failed] == [("node-1", 1), ("node-2", 1)]
    assert avoided(failed, later(9)) == {"node-1"}


def test_only_the_last_are_remembered_and_what_they_said_is_bounded() -> None:
    failed: tuple[FailedStart, ...] = ()
    for number in range(MOST + 4):
        failed = with_failure(failed, f"node-{number:02}", later(number), "Invalid", "x" * 5000)
    assert len(failed) == MOST
    assert "node-00" not in {f.host for f in failed}
    assert all(len(f.message or "") == 1024 for f in failed)


def test_it_survives_the_way_through_the_api() -> None:
    (one,) = with_failure((), "node-1", NOW, "Invalid", "no")
    assert FailedStart.model_validate_json(one.model_dump_json(by_alias=True)) == one
