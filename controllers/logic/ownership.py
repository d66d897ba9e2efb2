"""Whether what lies on the hosts may be taken by an instance, and what it must wait for (safety.md I1, N2, N3).
Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from drivers.base import InstanceFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The instance that looks for its machine."""

    namespace: str
    name: str
    uid: str
    uuid: str
    by_uuid: bool
    """The user gave spec.uuid."""
    adopt: str = ""
    """Value of stratiform.dev/adopt: a UUID for an orphan of its own name, <namespace>/<name>/<uuid> for another's,
    which
    needs the verb adopt (the policy sees to that)."""
    ignore: str = ""
    """Value of stratiform.dev/ignore-orphan."""
    installations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Take:
    """Adopt this machine: write our mark on it. `previous_uid` "" for an unmarked one (an import)."""

    facts: InstanceFacts
    previous_uid: str
    imported: bool


@dataclass(frozen=True, slots=True)
class Must:
    """It waits for a person. Ready=False with reason and message."""

    reason: str
    message: str


def judge_found(
    wish: Wish, found: Mapping[str, InstanceFacts], known_uids: Iterable[str], *, imports: Mapping[str, bool]
) -> Take | Must | None:
    """What lies under its own UUID and is not marked as its own. `known_uids`: uids of Instances that exist;
    `imports`: host → whether its cluster allows imports by this namespace. None: nothing in the way."""
    strange = {h: f for h, f in sorted(found.items()) if not _own(wish, f)}
    if not strange:
        return None
    host, facts = next(iter(strange.items()))
    mark = facts.mark
    if facts.unreadable:
        return Must(
            "MarkUnreadable", f"domain {facts.name} on {host} has a mark that cannot be read: nothing is touched."
        )
    if mark is None:
        if len(strange) == 1 and imports.get(host):
            return Take(facts, "", imported=True)
        return Must(
            "ImportNotAllowed",
            f"spec.uuid: domain {facts.name} on {host} bears no mark, and the cluster of {host} does not let namespace "
            f"{wish.namespace} import machines: its administrator sets spec.allowImports of the HostCluster.",
        )
    if mark.installation not in wish.installations:
        return Must(
            "NotOurs",
            f"domain {facts.name} on {host} is marked by installation {mark.installation}: the operator's "
            "configuration "
            "names it in installation.takeOver if it is to be taken over.",
        )
    return _orphan(wish, host, facts, set(known_uids), consent=wish.by_uuid)


def judge_namesake(wish: Wish, orphans: Iterable[InstanceFacts], known_uids: Iterable[str]) -> Take | Must | None:
    """N2: machines marked with its namespace and name, of a uid that the API does not know, under another UUID."""
    known = set(known_uids)
    for facts in sorted(orphans, key=lambda f: (f.uuid, f.host)):
        mark = facts.mark
        if mark is None or mark.uid == wish.uid or mark.installation not in wish.installations:
            continue
        if mark.uid in known or facts.uuid == wish.ignore:
            continue
        return _orphan(wish, facts.host, facts, known, consent=False)
    return None


def _orphan(wish: Wish, host: str, facts: InstanceFacts, known: set[str], *, consent: bool) -> Take | Must:
    mark = facts.mark
    assert mark is not None
    same_name = (mark.namespace, mark.name) == (wish.namespace, wish.name)
    asked = facts.uuid if same_name else f"{mark.namespace}/{mark.name}/{facts.uuid}"
    if mark.uid in known:
        return Must("UUIDTaken", f"Machine {facts.uuid} on {host} belongs to Instance {mark.namespace}/{mark.name}.")
    if wish.adopt == asked or (consent and same_name):
        return Take(facts, mark.uid, imported=mark.imported)
    if not same_name:
        return Must(
            "UUIDTaken",
            f"Machine {facts.uuid} on {host} is marked as {mark.namespace}/{mark.name}, whose object is gone. To "
            "take it all "
            f"the same annotate stratiform.dev/adopt: {asked} (needs the verb adopt).",
        )
    return Must(
        "OrphanExists",
        f"A machine of this name is on {host} ({facts.power}, UUID {facts.uuid}), whose object is gone: nothing "
        "was made. "
        f"Annotate stratiform.dev/adopt: {facts.uuid} to take it with its volumes, or stratiform.dev/ignore-orphan: "
        f"{facts.uuid} to make a new one beside it.",
    )


def _own(wish: Wish, facts: InstanceFacts) -> bool:
    mark = facts.mark
    return mark is not None and mark.uid == wish.uid and mark.installation in wish.installations


def asked_uuid(adopt: str) -> str:
    """The UUID in a value of stratiform.dev/adopt."""
    return adopt.rpartition("/")[2]


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """One object that claims a UUID. The order decides: who holds a placement, then the older."""

    refused: bool
    held: bool
    created_at: str
    uid: str
    name: str


def holder(claims: Iterable[Claim]) -> Claim | None:
    """Who keeps the UUID (N3): an object that was refused holds nothing; of the rest one that is placed, then the
    older."""
    return min(claims, key=lambda c: (c.refused, not c.held, c.created_at, c.uid), default=None)
