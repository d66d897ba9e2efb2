"""Whether a new leader has hosts left that it has not asked once: what it would say before is not known yet.

Kept by the fleet. Asked before every first placement (N2: an orphan of the name may be there), so it must not cost by
the number of hosts: only those are looked at of which something was told since the last question.
"""

from collections.abc import Callable

from controllers.engine.base import Cache, Key
from controllers.fleet.base import Link
from controllers.logic.inheritance import zone_of


class Unasked:
    """In the engine's loop only."""

    def __init__(self, cache: Cache, link: Callable[[str], Link | None]) -> None:
        self._cache, self._link = cache, link
        self._told: set[str] = {host.name for host in cache.all("Host")}
        self._unasked: set[str] = set()
        cache.subscribe(self._changed)

    def told(self, host: str) -> None:
        """Its link may be another one now."""
        self._told.add(host)

    def any_in(self, zone: str) -> bool:
        """Whether there is a host that is on record as Ready and has no session yet, or one that is being opened for
        the first time."""
        for name in self._told:
            (self._unasked.add if self._is(name) else self._unasked.discard)(name)
        self._told.clear()
        hosts = (self._cache.get("Host", "", name) for name in self._unasked)
        return any(host is not None and zone_of(self._cache, host) == zone for host in hosts)

    def _changed(self, key: Key) -> None:
        if key.kind == "Host":
            self._told.add(key.name)

    def _is(self, name: str) -> bool:
        link, host = self._link(name), self._cache.get("Host", "", name)
        if host is None:
            return False
        return link is Link.CONNECTING if link is not None else host.is_true("Ready")
