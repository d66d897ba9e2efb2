"""The seam between the fleet (connections and listings) and the kinds that use it: Host, StoragePool, Instance, Volume.

The fleet opens one EndPoint per Host, lists it whole at regular intervals and on demand, takes its events, and knows
what was last seen of each instance on each host. It never acts on an instance. Called from the engine's loop only.
"""

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from controllers.engine.base import Cache
from drivers.base import Action, EndPoint, HostFacts, InstanceFacts

R = TypeVar("R")


class Link(enum.StrEnum):
    CONNECTING = "Connecting"
    UP = "Up"
    DOWN = "Down"
    REFUSED = "Refused"
    """The host answers and says no: certificate, credentials, nonsense URI."""
    STRANGER = "Stranger"
    """Another machine answers at its address (H2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """What the fleet knows of one host now."""

    host: str
    link: Link
    since: datetime
    """When it came into this state (wall clock)."""
    last_contact: datetime | None
    """The end of the last call that was answered."""
    facts: HostFacts | None
    error: str = ""
    """In a person's words: what was tried, what was answered."""
    reason: str = ""
    """Reason constant of `error`."""
    stranger: str = ""
    """With link Stranger: the UUID of the machine that answers."""
    instances: Mapping[str, InstanceFacts] | None = None
    """Of the last whole listing over the present connection, kept up to date by single observations; by UUID.
    None until the present connection was listed."""
    pool_signs: Mapping[str, float] = field(default_factory=dict)
    """UUID of a pool → when (monotonic) the host last said that it changed there."""


@dataclass(frozen=True, slots=True)
class Clearance:
    """Whether no copy of an instance can run on any of the hosts asked about (W3c)."""

    clear: bool
    waiting_for: tuple[str, ...] = ()
    """Hosts that have not answered in two whole rounds since the last sign; for the condition's message."""


class Fleet(Protocol):
    patience: float
    """Seconds for which a host that has just been heard of may be silent before its guests are told: some listings."""
    pool_interval: float
    """Seconds between two looks of a host at one of its pools."""

    def view(self, host: str) -> HostView | None: ...

    def link(self, host: str) -> Link | None:
        """Of `view` the link alone, for those who ask about every host of a zone."""

    def subscribe(self, told: Callable[[str], None]) -> None:
        """Be told every host whose link or facts changed, by a call that must be quick and raise nothing."""

    def sightings(self, uuid: str) -> Mapping[str, InstanceFacts]:
        """host → facts, over all hosts whose present connection was listed."""

    def marked(self, namespace: str, name: str) -> list[InstanceFacts]:
        """Whatever bears a mark with the name of that Instance, over the same hosts."""

    def owned(self, uid: str) -> list[InstanceFacts]:
        """Whatever bears a mark of the object with that uid, over the same hosts."""

    def unheard(self, uuid: str) -> Mapping[str, InstanceFacts]:
        """host → facts as last seen, over hosts that were listed once and are not connected, nor declared off (H1)."""

    def unknown(self, host: str, uuid: str) -> bool:
        """Whether a call of ours about it may or may not have happened, and nobody has looked since."""

    async def observe(self, host: str, uuid: str) -> InstanceFacts | None:
        """Ask the host now about one instance and remember it. Raises DriverError."""

    async def act(self, host: str, uuid: str, action: Action, *, uid: str, sequence: int) -> InstanceFacts | None:
        """Apply one action over the connection by which the host was last listed, then observe again. The change is
        remembered as ours (no sign); a Resume is a sign (W3). Raises DriverError; Unreachable when the host has no
        listed connection. Refused (NotLeader) near the Lease's end."""

    async def call(self, host: str, name: str, call: Callable[[EndPoint], R], *, changes: bool) -> R:
        """Any other driver call on the host's lane (storage work)."""

    async def long_call(self, host: str, name: str, call: Callable[[EndPoint], R]) -> R:
        """As `call`, on the host's second lane for transfers that take minutes; changes is implied."""

    def clearance(self, uuid: str, hosts: Iterable[str]) -> Clearance:
        """W3c from what is known already; pure look-up. See `request_rounds`."""

    def request_rounds(self, zone: str) -> None:
        """Ask that two whole rounds of listings of the zone's hosts are run soon (shared by all who ask). Instances
        that wait are enqueued when a round ends (`on_round`)."""

    def note_first_decision(self, uuid: str) -> None:
        """W3a: this process decided the first placement itself. Ends at a resume or a change we did not make."""

    def decided_first(self, uuid: str) -> bool: ...

    def hosts_in_zone(self, zone: str) -> Iterable[str]: ...

    def unasked(self, zone: str) -> bool:
        """Whether hosts of the zone are left that were not asked once: what was seen is not all yet. Cheap."""

    def out_of_service(self, host: str) -> datetime | None:
        """The moment at which the host was validly declared off (H1); None if it was not, or has answered since. It
        frees only placements decided before that moment."""


def answered(cache: Cache, fleet: Fleet, host: str) -> bool:
    """Whether it is known what is on a host: listed over its present connection, validly out of service, or no Host at
    all any more."""
    view = fleet.view(host)
    if view is not None and view.instances is not None:
        return True
    return fleet.out_of_service(host) is not None or cache.get("Host", "", host) is None
