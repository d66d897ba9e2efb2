"""Who may have a Volume (safety.md D1). Pure; the Volume kind writes what this decides into its status."""

from collections.abc import Iterable
from dataclasses import dataclass

from crds.volume import Attachment


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """An instance that names the Volume, or may still have it, though its object may be gone."""

    name: str
    uid: str
    hosts: tuple[str, ...]
    """Where it may have the disk open: the host of its placement; empty while it has none."""
    declared: bool
    """Its spec names the Volume, and it is not being deleted."""
    attached: bool
    """Its machine has the disk, or nobody can say that it has not."""
    order: tuple[str, str]
    """(time of its placement, uid): who came first."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What the status shall say, and who has to wait for whom."""

    attachments: tuple[Attachment, ...]
    waiting: tuple[str, ...]
    """Names of instances that want the disk and do not get it now."""


def grant(current: Iterable[Attachment], claimants: Iterable[Claimant], *, shareable: bool, known: bool) -> Grant:
    """D1: one ReadWrite unless shareable. Who has it keeps it until its machine has let go, also when it is no longer
    declared; who wants it gets it in the order of placement. `known` False: nobody new gets it."""
    by_uid = {c.uid: c for c in claimants}
    kept = [_as_held(a, by_uid[a.uid]) for a in current if a.uid in by_uid and _keeps(by_uid[a.uid])]
    held = {a.uid for a in kept}
    waiting: list[str] = []
    for claimant in sorted(by_uid.values(), key=lambda c: (not c.attached, c.order)):
        if claimant.uid in held or not (claimant.attached or (claimant.declared and claimant.hosts)):
            continue
        if claimant.attached or (known and (shareable or not kept)):
            kept.append(Attachment(instance=claimant.name, uid=claimant.uid, hosts=claimant.hosts))
        else:
            waiting.append(claimant.name)
    return Grant(tuple(sorted(kept, key=lambda a: a.uid)), tuple(waiting))


def _keeps(claimant: Claimant) -> bool:
    return claimant.attached or claimant.declared


def _as_held(attachment: Attachment, claimant: Claimant) -> Attachment:
    return attachment.model_copy(update={"hosts": claimant.hosts})
