"""The seam of placement: what the Instance kind asks and what it gets. Decisions are made in one place, one at a time.

The caller writes the decision into `status.placement` before anything is created (W1); until the cache shows it, the
scheduler holds an assumed reservation for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from controllers.engine.base import Obj
from crds.instance import Explanation


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    host: str
    pools: Mapping[str, str]
    """Managed volume's entry name → StoragePool name, for each that has no Volume object yet."""
    explanation: Explanation


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """No host fits. Reason and message are made for the `Scheduled` condition."""

    reason: str
    message: str
    explanation: Explanation


class Scheduler(Protocol):
    def decide(self, instance: Obj[Any, Any], *, avoid: frozenset[str] = frozenset()) -> Decision | Refusal:
        """Pick a host and pools and reserve them. `avoid`: hosts where it just failed to start. Not a coroutine: no
        other decision can come in between. Asking again for the same uid replaces its reservation."""

    def decide_on(self, instance: Obj[Any, Any], host: str) -> Decision | Refusal:
        """As `decide`, for an instance whose host is decided already: that host alone, Disabled or not."""

    def forget(self, uid: str) -> None:
        """Drop the assumed reservation of an instance (its decision was not written, or it is gone)."""

    def choose_pool(self, volume: Obj[Any, Any], size: int) -> Obj[Any, Any] | str:
        """A shared pool for a Volume of `size` bytes that names none and that no decision placed, reserved until the
        pool counts it; else why there is none."""

    def fits(self, instance: Obj[Any, Any], host: str) -> Refusal | None:
        """Whether a stopped instance may start again on its own host (capacity counts again from now: W7); reserves
        like `decide` when it may."""
