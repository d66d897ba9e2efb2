"""The API server answers badly, slowly or not at all: work goes on afterwards, and what was declared is what runs.

Each row: the fault holds for some seconds while a person creates, changes and deletes; then it ends.
"""

import time
from itertools import pairwise
from typing import Any

import pytest

from tests.cluster import until
from tests.faults.apiworld import World
from tests.faults.declared import assert_as_declared
from tests.faults.proxy import LIST, WATCH, Action, Answer, CutBody, InStream, LostAnswer, Silence, Slow

NOT_WATCH = "^(?!.*watch=)"
WRITES = "POST|PUT|PATCH|DELETE"
ROWS: list[tuple[str, Action, dict[str, object]]] = [
    ("429 to everything is waited out as it asks", Answer(429, "TooManyRequests", 1), {"path": NOT_WATCH}),
    ("500 to everything", Answer(500, "InternalError"), {}),
    ("503 to everything", Answer(503, "ServiceUnavailable"), {}),
    ("504 to everything", Answer(504, "Timeout"), {}),
    ("403 to everything but the Lease", Answer(403, "Forbidden"), {}),
    ("answers take two seconds", Slow(2.0), {"path": NOT_WATCH}),
    ("every second write is a conflict", Answer(409, "Conflict"), {"verb": WRITES, "every": 2}),
    ("every write is a conflict", Answer(409, "Conflict"), {"verb": WRITES}),
    ("every third write is done and its answer lost", LostAnswer(), {"verb": WRITES, "every": 3}),
    ("every second request answers with half a body", CutBody(), {"path": NOT_WATCH, "every": 2}),
    ("every list breaks off in its middle", CutBody(), {"path": LIST}),
    ("410 to every watch", Answer(410, "Expired"), {"path": WATCH}),
    ("410 in every watch", InStream(410, "Expired"), {"path": WATCH}),
    ("500 in every watch", InStream(500, "InternalError"), {"path": WATCH}),
    ("410 to every page but the first", Answer(410, "Expired"), {"path": "continue="}),
]


@pytest.mark.parametrize(("what", "action", "rule"), ROWS, ids=[row[0] for row in ROWS])
def test_whatever_it_answers_for_a_while_the_end_is_what_was_declared(
    api: World, what: str, action: Action, rule: dict[str, object]
) -> None:
    ends = len(api.pod.ends)
    with api.proxy.during(action, **rule) as given:
        if "watch=" in str(given.path) or "continue" in given.path or given.path == LIST:
            api.proxy.break_connections()  # So that watches begin, and lists with them.
        began = time.monotonic()
        api.traffic()
        until(lambda: given.hits > 2 and time.monotonic() - began > 2.0, 20.0, why=lambda: f"{given}")
        requests = api.proxy.count("", since=began)
    assert requests < 400 * (time.monotonic() - began), "it does not storm a server in distress"
    api.settle()
    assert len(api.pod.ends) == ends, "the process lives on"


def test_429_is_obeyed_to_the_second(api: World) -> None:
    api.proxy.requests.clear()
    with api.proxy.during(Answer(429, "TooManyRequests", 2), path="/instances/.*/status", verb="PUT"):
        api.traffic()

        def refused() -> dict[str, list[float]]:
            found: dict[str, list[float]] = {}
            for request in api.proxy.requests:
                if request.status == 429:
                    found.setdefault(request.path, []).append(request.at)
            return found

        until(lambda: any(len(moments) > 1 for moments in refused().values()), 15.0)
    assert all(b - a > 1.9 for moments in refused().values() for a, b in pairwise(moments)), refused()


def test_refused_even_its_lease_the_process_ends_and_the_next_one_goes_on(api: World) -> None:  # W6
    with api.proxy.during(Answer(403, "Forbidden"), lease=True):
        api.traffic()
        until(lambda: api.pod.ends and api.pod.ends[-1] == 3, 20.0, why=lambda: api.pod.ends)
    api.pod.ends.clear()
    api.settle()


def test_w6_every_write_a_conflict_and_the_renewals_too_the_process_ends_and_the_next_one_goes_on(api: World) -> None:
    """It is still the holder, so it tries on until its Lease is at its end; nobody can take it over meanwhile."""
    api.pod.ends.clear()
    with api.proxy.during(Answer(409, "Conflict"), verb=WRITES, lease=True) as rule:
        api.traffic()
        until(lambda: api.pod.ends and api.pod.ends[-1] == 3, 20.0, why=lambda: f"{api.pod.ends} {rule}")
        until(lambda: api.pod.page("/livez")[0] == 200, 15.0)
        assert api.pod.metric("stratiform_leader") == api.pod.metric("stratiform_driver_calls_total") == 0.0
    api.pod.ends.clear()
    api.settle()


def test_a_lease_with_a_conflict_at_every_second_renewal_is_kept(api: World) -> None:
    ends = len(api.pod.ends)
    with api.proxy.during(Answer(409, "Conflict"), path="/leases/stratiform", verb="PUT", lease=True, every=2) as rule:
        api.traffic()
        until(lambda: rule.hits > 5, 20.0)
        api.settle()
    assert len(api.pod.ends) == ends, "a conflict is no loss while it is the holder"


def test_w6_with_answers_as_slow_as_a_third_of_the_lease_an_instance_runs_and_the_lease_is_kept(api: World) -> None:
    slow_answers(api, 0.5)


def slow_answers(api: World, scale: float, *, restart: bool = False, **spec: Any) -> None:
    """Each answer takes `scale` times 5 s, renewals of the Lease too; the operator's times are `scale` times its own. It
    makes an instance run and, started again if `restart`, stops it."""
    cloud, before = api.tenant(), api.pod.arguments
    times = {"lease-duration": 15.0, "lease-renew": 2.0, "lease-margin": 3.0, "request-timeout": 20.0}
    api.pod.stop()
    api.pod.arguments = [*before, *(f"--{name}={seconds * scale}" for name, seconds in times.items())]
    api.pod.start()
    api.pod.ends.clear()
    try:
        with api.proxy.during(Slow(5.0 * scale), path=NOT_WATCH, lease=True):
            cloud.instance("web", **spec)
            cloud.api.await_condition("Instance", "web", deadline=120.0 * scale)
            assert api.pod.ends == [], "the Lease is kept"
            if restart:
                api.pod.restart(wait=False)
                api.pod.until_ready(240.0 * scale)
                api.pod.ends.clear()
                cloud.api.patch("Instance", "web", {"runStrategy": "Halted"})
                cloud.api.await_condition("Instance", "web", reason="Stopped", deadline=120.0 * scale)
        assert_as_declared(cloud)
        assert api.pod.ends == [], "the Lease is kept"
        cloud.api.remove("instance/web")
    finally:
        api.pod.stop()
        api.pod.arguments = before
        api.pod.start()


def test_a_watch_that_goes_silent_is_found_out_and_started_again(api: World) -> None:
    starts = api.pod.metric("stratiform_watch_starts_total")
    with api.proxy.during(Silence(), path=WATCH):
        api.traffic()
        until(lambda: api.pod.metric("stratiform_watch_starts_total") > starts, 40.0)
        api.settle()


def test_a_list_at_the_start_that_breaks_off_is_begun_again(api: World) -> None:
    with api.proxy.during(CutBody(), path=LIST, times=12) as rule:
        api.pod.restart(wait=False)
        api.traffic()
        until(lambda: rule.hits >= 12, 30.0)
    api.settle()


def test_a_continuation_that_expired_at_the_start_is_begun_again(api: World) -> None:
    with api.proxy.during(Answer(410, "Expired"), path="continue=", times=6) as rule:
        api.pod.restart(wait=False)
        until(lambda: rule.hits >= 1, 30.0)
    api.traffic()
    api.settle()


def test_a_token_that_expired_is_read_again_from_disk(api: World) -> None:
    api.proxy.tokens = {"first"}
    api.traffic()
    api.settle()
    api.proxy.tokens = {"second"}
    api.traffic()
    until(lambda: any(r.status == 401 for r in api.proxy.requests[-50:]), 10.0)
    api.proxy.token_file.write_text("second")
    ends = len(api.pod.ends)
    api.settle()
    assert len(api.pod.ends) == ends


def test_a_server_that_refuses_connections_and_one_that_swallows_them(api: World) -> None:
    api.proxy.refuse()
    api.traffic()
    time.sleep(2.0)  # Time in which it is tried in vain.
    api.proxy.listen()
    api.settle()
    api.proxy.stand_still()
    api.traffic()
    time.sleep(3.5)  # Longer than a request may take.
    api.proxy.go_on()
    api.settle()
