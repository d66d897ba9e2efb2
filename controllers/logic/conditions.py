"""The conditions of one object while its status is composed. Pure; used by the engine and by every kind.

Rules of design.md §3: Ready and Synced always stand (Scheduled on Instance); a good condition is kept only while it is
not True, a bad one only while it is not False; lastTransitionTime moves only when the status does.
"""

from collections.abc import Iterable, Mapping
from typing import Any

ALWAYS = frozenset({"Ready", "Synced", "Scheduled"})
GOOD = frozenset({"Ready", "Scheduled", "Synced", "LiveMigratable", "AgentConnected"})
MAX_MESSAGE = 2048


class Conditions:
    """Starts from what the status has; `set` for everything that holds now; what is not set again is dropped."""

    def __init__(self, current: Iterable[Mapping[str, Any]], generation: int, now: str) -> None:
        self._old = {c["type"]: dict(c) for c in current}
        self._new: dict[str, dict[str, Any]] = {}
        self._generation = generation
        self._now = now

    def set(self, type_: str, status: str, reason: str, message: str = "") -> None:
        """`status` is "True", "False" or "Unknown"; reason a CamelCase constant. The last call for a type wins."""
        old = self._old.get(type_)
        same = old is not None and old.get("status") == status
        message = message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"
        self._new[type_] = {
            "type": type_,
            "status": status,
            "reason": reason,
            "message": message,
            "observedGeneration": self._generation,
            "lastTransitionTime": old["lastTransitionTime"] if same and old else self._now,
        }

    def get(self, type_: str) -> Mapping[str, Any] | None:
        """As set in this turn, else as it was."""
        return self._new.get(type_) or self._old.get(type_)

    def was(self, type_: str) -> Mapping[str, Any] | None:
        """As the API had it at the beginning of the turn."""
        return self._old.get(type_)

    def is_set(self, type_: str) -> bool:
        """Whether this turn has said something about it."""
        return type_ in self._new

    def compose(self) -> list[dict[str, Any]]:
        """The list to write, ordered by type with Ready first."""
        kept = [c for t, c in self._new.items() if t in ALWAYS or c["status"] != ("True" if t in GOOD else "False")]
        for type_ in ALWAYS - self._new.keys():
            if type_ in self._old:
                kept.append(self._old[type_])
        return sorted(kept, key=lambda c: (c["type"] != "Ready", c["type"]))
