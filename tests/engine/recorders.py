"""Reconcilers of the tests' two kinds that do little and remember what they were asked."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from controllers.engine.base import Again, Key, Obj, Reconciler, Services, Turn
from tests.engine.widgets import RackSpec, RackStatus, WidgetSpec, WidgetStatus

Step = Callable[[Turn[Any, Any]], Awaitable[Again | None]]


def only(*reconcilers: "Widgets | Racks") -> Callable[[Services], Iterable["Widgets | Racks"]]:
    """What an engine asks for: these, given its services."""

    def make(services: Services) -> Iterable[Widgets | Racks]:
        for reconciler in reconcilers:
            reconciler.services = services
        return reconcilers

    return make


class Widgets(Reconciler[WidgetSpec, WidgetStatus]):
    """`step`, if given, runs first and may raise; then the widget is made and Ready."""

    kind = "Widget"
    services: Services
    indexes = {"size": lambda obj: [str(obj.spec.size)]}

    def __init__(self, step: Step | None = None, *, finalizer: bool = False) -> None:
        self.step = step
        self.finalizer = finalizer
        self.seen: Counter[str] = Counter()
        self.released: list[str] = []

    def references(self, obj: Obj[WidgetSpec, WidgetStatus]) -> Iterable[Key]:
        return [Key("Rack", "", obj.spec.rack_ref.name)] if obj.spec.rack_ref else []

    async def reconcile(self, turn: Turn[WidgetSpec, WidgetStatus]) -> Again | None:
        self.seen[turn.obj.name] += 1
        if turn.obj.deleting:
            await turn.may_destroy()
            self.released.append(turn.obj.name)
            await turn.release()
            return None
        if self.finalizer:
            await turn.ensure_finalizer()
        if self.step is not None:
            again = await self.step(turn)
            if again is not None:
                return again
        turn.status = turn.status.model_copy(update={"made": turn.obj.spec.size})
        turn.conditions.set("Ready", "True", "Made")
        return None


class Racks(Reconciler[RackSpec, RackStatus]):
    kind = "Rack"
    roll_up = True

    services: Services

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    async def reconcile(self, turn: Turn[RackSpec, RackStatus]) -> Again | None:
        self.seen[turn.obj.name] += 1
        widgets = list(self.services.cache.referrers(turn.obj.key, "Widget"))
        if turn.obj.deleting:
            if not widgets:
                await turn.release()
            else:
                turn.conditions.set("Deleting", "True", "InUse", f"{len(widgets)} widgets are in it.")
            return None
        await turn.ensure_finalizer()
        turn.status = turn.status.model_copy(update={"total": sum(widget.spec.size for widget in widgets)})
        turn.conditions.set("Ready", "True", "Counted")
        return None
