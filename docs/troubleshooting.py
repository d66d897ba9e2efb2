"""docs/troubleshooting.md from docs/troubleshooting.yaml, the one place where every reason is explained.

Called by `docs.tables`, which writes and checks all pages; tests/docs compare the reasons with the code.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from crds.kinds import KINDS

REASONS = Path(__file__).parent / "troubleshooting.yaml"
BEGINNING = Path(__file__).parent / "troubleshooting-begin.txt"

#: Condition types, with what a reader should know of each.
CONDITIONS = {
    "Ready": "True: usable now and as declared. On every object, always.",
    "Synced": "True: the operator's last attempt went through. On every object, always once it was looked at.",
    "Scheduled": "True: a host is decided. On Instances, always.",
    "Stalled": "True: neither waiting nor another object helps; this object has to be changed.",
    "Deleting": "True: it is being deleted and waits for something.",
    "ReconciliationPaused": "True: the object is annotated `stratiform.dev/paused`.",
    "RestartRequired": "True: something declared takes effect at the next restart.",
    "Drifted": "True: somebody changed the machine on its host.",
    "GuestPaused": "True: the guest stands still and the operator leaves it so.",
    "AgentConnected": "False: the guest agent in the machine does not answer.",
    "OutOfService": "True: the host was validly declared to be off.",
    "OutOfServiceVoid": "True: a declaration that the host is off counts for nothing.",
    "Maintenance": "True: the host takes nothing new.",
    "Degraded": "True: usable, but not from everywhere it should be.",
}

_SHARED = "Several kinds"
_EVERY = "Every kind"


class Reason(BaseModel):
    """One reason, as the file has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: tuple[str, ...]
    """Kinds that show it; "all" for every one."""
    of: tuple[str, ...] = ("Ready",)
    """Condition types that carry it; Event for an event alone."""
    means: str
    cause: str
    do: str = "Nothing."

    @property
    def place(self) -> str:
        """The section of the page: of its kind, if it has one only."""
        if self.kinds == ("all",):
            return _EVERY
        return self.kinds[0] if len(self.kinds) == 1 else _SHARED


def reasons() -> dict[str, Reason]:
    """The whole file, checked."""
    raw = yaml.safe_load(REASONS.read_text())
    return {name: Reason.model_validate(entry) for name, entry in raw.items()}


def anchor(reason: str) -> str:
    """Of its heading, as the forge makes it."""
    return f"#{reason.lower()}"


def page(mend: str) -> str:
    """docs/troubleshooting.md. `mend` is the command that writes it."""
    known = reasons()
    parts = [
        f"<!-- Written by `{mend}` from troubleshooting.yaml and troubleshooting-begin.txt: change those. -->\n",
        BEGINNING.read_text(),
        "## Conditions\n",
        *_conditions(known),
        "## By kind\n",
        *_kinds(known),
    ]
    for place in (_EVERY, _SHARED, *KINDS):
        found = {name: reason for name, reason in known.items() if reason.place == place}
        if found:
            parts += [f"## {place}\n", *(_entry(name, found[name]) for name in sorted(found))]
    return "\n".join(parts)


def _conditions(known: dict[str, Reason]) -> Iterator[str]:
    for type_, text in CONDITIONS.items():
        yield f"- **{type_}**. {text} {_links(n for n, r in known.items() if type_ in r.of)}"
    yield f"- Events alone: {_links(n for n, r in known.items() if 'Event' in r.of)}\n"


def _kinds(known: dict[str, Reason]) -> Iterator[str]:
    yield f"- Every kind: {_links(n for n, r in known.items() if r.kinds == ('all',))}"
    for kind in KINDS:
        names = [n for n, r in known.items() if kind in r.kinds]
        if names:
            yield f"- **{kind}**: {_links(names)}"
    yield ""


def _links(names: Iterable[str]) -> str:
    return ", ".join(f"[{name}]({anchor(name)})" for name in sorted(names))


def _entry(name: str, reason: Reason) -> str:
    conditions = [type_ for type_ in reason.of if type_ != "Event"]
    where = [f"condition {', '.join(conditions)}"] if conditions else []
    where += ["event"] if "Event" in reason.of else []
    return (
        f"### {name}\n\nOn {_on(reason)}: {'; '.join(where)}.\n\n"
        f"- Meaning: {reason.means}\n- Cause: {reason.cause}\n- What to do: {reason.do}\n"
    )


def _on(reason: Reason) -> str:
    return "every kind" if reason.kinds == ("all",) else ", ".join(reason.kinds)
