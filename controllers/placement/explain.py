"""The story of a decision for status, condition and event: bounded whatever the number of hosts. Pure."""

from functools import lru_cache
from typing import Any

from controllers.placement.core.story import Lost, Placed, Story, Unplaced
from crds.instancestatus import Explanation, NearMiss, Rejection, ScorePart

NAMED, TEXT = 4, 256
"""Hosts and characters of one entry: the whole stays below 16 KiB, whatever the hosts say."""
NO_HOST = "No host is there yet: make a Host in a HostCluster of this zone."


def explain(result: Placed | Unplaced) -> Explanation:
    """What `status.placement.explanation` says. Built without validation: it is made for every decision."""
    story = result.story
    parts: dict[str, Any] = {"rejected": tuple(map(_rejection, story.lost[:16]))}
    if isinstance(result, Placed):
        parts |= {"winner": result.host, "summary": _won(result)}
        parts["scores"] = tuple(_part(name, max(-1000, min(1000, round(value * 1000)))) for name, value in story.parts)
    else:
        parts |= {"summary": message(story)[:1024], "helps": tuple(h[:TEXT] for h in story.helps[:5])}
        parts["nearest"] = tuple(
            NearMiss.model_construct(host=n.host, reason=n.reason, shortfall=n.missing[:TEXT]) for n in story.near
        )
    said = {name: part for name, part in parts.items() if part != ()}
    return Explanation.model_construct(candidates=story.candidates, **said)


@lru_cache(8192)
def _part(name: str, thousandths: int) -> ScorePart:
    return ScorePart(name=name, score=thousandths)


@lru_cache(1024)
def _rejection(lost: Lost) -> Rejection:
    told = lost.message[:TEXT] or None
    return Rejection(reason=lost.reason, count=lost.count, hosts=lost.hosts[:NAMED], message=told)


def _won(result: Placed) -> str:
    story = result.story
    if story.candidates == 1:
        return f"{result.host}: the only host there is."
    if story.fitting == 1:
        return f"{result.host}: the only one that fits of {story.candidates} hosts."
    return f"{result.host}: the best of the {story.fitting} that fit, of {story.candidates} hosts."


def message(story: Story) -> str:
    """`0 of 3 hosts fit: node-1 needs 4Gi memory, 1.2Gi free; node-2 … Nearest: node-1, short of 2.8Gi memory.`"""
    if not story.candidates:
        return NO_HOST
    if story.texts:
        told = "; ".join(f"{host} {text}" for host, text in story.texts)
    else:
        told = "; ".join(map(_lost, story.lost))
    near = f" Nearest: {story.near[0].host}, short of {story.near[0].missing}." if story.near else ""
    # What is said as "short of" is not said again as "free".
    others = story.helps[1:] if story.near and story.helps[:1] and story.helps[0].startswith("free ") else story.helps
    helps = f" {'Or' if story.near else 'To let it in:'} {', or '.join(others)}." if others else ""
    return f"0 of {story.candidates} hosts fit: {told}.{near}{helps}"


def _lost(lost: Lost) -> str:
    names = ", ".join(lost.hosts[:2])
    more = ", …" if lost.count > 2 else ""
    return f"{lost.count} {lost.reason} ({names}{more}: {lost.message})" if names else f"{lost.count} {lost.reason}"
