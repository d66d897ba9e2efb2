"""Hosts that would not start an instance: which placement avoids, and until when. Pure; called by the Instance kind."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from crds.instancestatus import FailedStart

FIRST_PAUSE = timedelta(seconds=8)
LONGEST_PAUSE = timedelta(hours=1)
MOST = 16
"""Hosts that are remembered: those that failed last."""
TOLD = 1024
"""Characters of what a host said."""


def avoided(failed: Iterable[FailedStart], now: datetime) -> frozenset[str]:
    """Hosts that just failed to start it."""
    return frozenset(f.host for f in failed if now < f.until)


def with_failure(
    failed: Iterable[FailedStart], host: str, now: datetime, reason: str, message: str
) -> tuple[FailedStart, ...]:
    """One failure more: the pause doubles each time that the same host fails. By host."""
    others = [f for f in failed if f.host != host]
    times = 1 + next((f.times for f in failed if f.host == host), 0)
    pause = min(FIRST_PAUSE * 2 ** min(times - 1, 16), LONGEST_PAUSE)
    at = now.replace(microsecond=0)
    told = message[:TOLD] or None
    fresh = FailedStart(host=host, at=at, times=times, until=at + pause, reason=reason, message=told)
    kept = sorted(others, key=lambda f: f.at)[-(MOST - 1) :]
    return tuple(sorted((*kept, fresh), key=lambda f: f.host))
