"""Rounds: all hosts of a zone listed on demand, one round after the other, shared by all who wait (safety.md W3).

Owned by the fleet. A round costs one bulk listing per host; a host that does not answer in time is not waited for.
"""

import asyncio
import contextlib
import contextvars
import time
from collections.abc import Iterable
from typing import Protocol

import structlog

from controllers.engine.base import ApiError
from controllers.fleet.contacts import Contacts
from controllers.fleet.session import HostSession
from controllers.logic.sightings import Round, Sightings

log = structlog.get_logger(__name__)

ROUND_TIMEOUT = 6.0
"""Longer than an attempt to open a connection may take, so that a dead host's refusal is heard in the round."""
PAUSE, PAUSE_MOST = 0.5, 10.0
"""Seconds between two pairs of rounds: doubled while the same instances ask again and again, as they do for a host that
is dead and not declared so."""


class Zones(Protocol):
    """What rounds need of the fleet."""

    book: Sightings
    contacts: Contacts

    def hosts_in_zone(self, zone: str) -> Iterable[str]: ...

    def session(self, host: str) -> HostSession | None: ...

    def round_ended(self, zone: str) -> None:
        """Wake those who wait."""


class Rounds:
    """Called from the engine's loop only."""

    def __init__(self, zones: Zones) -> None:
        self._zones = zones
        self._wanted: set[str] = set()
        self._fresh: set[str] = set()
        self._hurry: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def request(self, zone: str, *, fresh: bool) -> None:
        """Two whole rounds of the zone that begin from now on; at once for somebody who asks for the first time."""
        self._wanted.add(zone)
        if fresh:
            self._fresh.add(zone)
            if zone in self._hurry:
                self._hurry[zone].set()
        if zone not in self._tasks:
            self._tasks[zone] = asyncio.get_running_loop().create_task(
                self._run(zone), name=f"rounds of {zone}", context=contextvars.Context()
            )

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, zone: str) -> None:
        pause, hurry = PAUSE, self._hurry.setdefault(zone, asyncio.Event())
        try:
            while zone in self._wanted:
                pause = PAUSE if zone in self._fresh else min(pause * 2, PAUSE_MOST)
                self._wanted.discard(zone)
                self._fresh.discard(zone)
                hurry.clear()
                await self._load_records(zone)
                for _ in range(2):
                    await self._round(zone)
                self._zones.round_ended(zone)
                await asyncio.sleep(PAUSE)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(hurry.wait(), pause - PAUSE)
        finally:
            self._tasks.pop(zone, None)
        if zone in self._wanted:
            self.request(zone, fresh=False)

    async def _round(self, zone: str) -> None:
        begun = time.monotonic()
        hosts = list(self._zones.hosts_in_zone(zone))
        answers = await asyncio.gather(*(self._ask(host, begun) for host in hosts))
        answered = frozenset(host for host, answer in zip(hosts, answers, strict=True) if answer)
        self._zones.book.round_ended(zone, Round(begun, time.monotonic(), answered))
        log.debug("round", zone=zone, asked=len(hosts), answered=len(answered))

    async def _ask(self, host: str, begun: float) -> bool:
        session = self._zones.session(host)
        if session is None:
            return False
        try:
            return await asyncio.wait_for(session.listing_after(begun), ROUND_TIMEOUT)
        except TimeoutError:
            return False

    async def _load_records(self, zone: str) -> None:
        """The contacts that the leader before us recorded: they stand for the last signs that it saw."""
        for host in self._zones.hosts_in_zone(zone):
            try:
                await self._zones.contacts.load(host)
            except ApiError as error:
                log.warning("record of the last contact was not read", host=host, error=str(error))
