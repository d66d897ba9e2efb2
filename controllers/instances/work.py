"""What one reconcile of an Instance works with: the turn, the tools, and the few verbs that every part uses."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from controllers.engine.base import Key, Obj, Services, Turn
from controllers.fleet.base import Fleet
from controllers.logic import records
from controllers.logic.runstrategy import Aim
from controllers.placement.base import Scheduler
from crds.base import NameRef
from crds.instance import InstanceSpec, InstanceStatus
from crds.instancestatus import Placement, Step
from drivers.base import Action, EndPoint, InstanceFacts

InstanceObj = Obj[InstanceSpec, InstanceStatus]
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Tools:
    """What every part is given."""

    services: Services
    fleet: Fleet
    scheduler: Scheduler
    reserved: dict[Key, str] = field(default_factory=dict)
    """NetworkAddress that is a reservation → uid of the Instance that took it last: its status tells only later."""


@dataclass(slots=True)
class Memory:
    """Of one instance, while this process lives; losing it costs patience, never safety."""

    asked_last: datetime | None = None
    """When the guest was last asked to shut down."""
    strategy: str = ""
    """A change of it ends the back-off."""
    quick_ends: int = 0
    not_before: datetime | None = None
    refused: int = 0
    """Times in a row that no host was found."""


@dataclass(slots=True)
class Work:
    """One turn. `facts` is the domain on the placement's host as last seen, None for missing there."""

    turn: Turn[InstanceSpec, InstanceStatus]
    tools: Tools
    memory: Memory
    uuid: str
    facts: InstanceFacts | None = None
    seen: bool = False
    """Whether its host was asked: `facts` None means missing there."""
    aim: Aim = Aim.LEAVE
    request: str = ""
    """Action of the pending power request."""
    wake: list[float] = field(default_factory=list)
    """Seconds after which to look again."""

    @property
    def obj(self) -> InstanceObj:
        return self.turn.obj

    @property
    def spec(self) -> InstanceSpec:
        return self.turn.obj.spec

    @property
    def status(self) -> InstanceStatus:
        return self.turn.status

    @property
    def cache(self) -> Any:
        return self.tools.services.cache

    @property
    def now(self) -> datetime:
        return self.tools.services.now()

    @property
    def placement(self) -> Placement:
        """Of an instance that is placed."""
        assert self.status.placement is not None and self.status.placement.host is not None
        return self.status.placement

    @property
    def ran_twice(self) -> bool:
        """As its status says still, whoever wrote that."""
        return (self.turn.conditions.was("Ready") or {}).get("reason") == "RunsTwice"

    @property
    def host(self) -> str:
        return self.placement.host or ""

    def update(self, **fields: object) -> None:
        """Replace fields of the status to be written."""
        self.turn.status = self.turn.status.model_copy(update=fields)

    def reached(self, step: str) -> None:
        """Note when a step on the way to running was first reached."""
        if all(s.name != step for s in self.status.steps):
            self.update(steps=(*self.status.steps, Step(name=step, at=self.now)))

    async def act(self, action: Action) -> InstanceFacts | None:
        """On its own host under the current sequence; `facts` is what was seen right after it. Raises DriverError."""
        self.facts = await self.tools.fleet.act(
            self.host, self.uuid, action, uid=self.obj.uid, sequence=self.placement.sequence
        )
        return self.facts

    async def call(self, name: str, call: Callable[[EndPoint], R], *, changes: bool) -> R:
        """Another driver call on its own host (storage, hardware). Raises DriverError."""
        return await self.tools.fleet.call(self.host, name, call, changes=changes)

    def place(self, host: str, sequence: int, explanation: object | None = None) -> None:
        """Put a placement into the status; W1: the caller saves it before anything is called."""
        old = self.status.placement
        kept = explanation or (old.explanation if old else None)
        self.update(
            placement=Placement(host=host, sequence=sequence, decided_at=self.now, explanation=kept),
        )

    def recover(self) -> None:
        """M4: take from the mark what the status has lost; note where it was seen."""
        self.turn.status = records.recover(self.status, self.facts)
        if self.facts is not None:
            self.update(host_ref=NameRef(name=self.facts.host), platform_name=self.facts.name)

    def again(self, moment: datetime) -> None:
        self.wake.append(max((moment - self.now).total_seconds(), 0.1))
