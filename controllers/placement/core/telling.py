"""The story of a decision from its evaluation: counts are there already, texts are made for the few hosts told."""

from collections.abc import Iterator

import numpy as np

from controllers.placement.core.asks import Ask
from controllers.placement.core.evaluation import FITS, NEAR, NEVER, Evaluation
from controllers.placement.core.filters import FILTERS, OTHER_ZONE, REASONS
from controllers.placement.core.narrow import Narrowed, Out
from controllers.placement.core.story import Lost, Near, Story
from controllers.placement.core.weighers import LAST_HOST, NAMES
from crds.base import shorten_quantity

NAMED = 3
"""Hosts that are told one by one; more are counted by reason."""
SAMPLES = 8
HELPS_FOR = 2048
"""Rows judged after which it is looked for anew what would help."""


def tell_placed(ask: Ask, view: Evaluation, narrowed: Narrowed, row: int, wished: float) -> Story:
    """`wished`: what the last host, preferred hosts and preferred terms added to the winner's score."""
    found = list(zip(NAMES, view.parts[:, row].tolist(), strict=True))
    if narrowed.wished is not None:
        last = LAST_HOST[view.hosts.policy[row]] if ask.prefer and view.hosts.row(ask.prefer) == row else 0.0
        found += [("LastHost", last), ("Preferred", wished - last)]
    counts = view.counts.tolist()
    lost = [Lost(REASONS[code], counts[code]) for code in _TOLD if counts[code]]
    lost += [Lost(out.reason, out.count) for out in _joined(narrowed.lost)]
    fitting = counts[0] - sum(out.count for out in narrowed.lost)
    return Story(candidates=view.candidates(), fitting=fitting, lost=tuple(lost), parts=tuple(found))


def tell_unplaced(ask: Ask, view: Evaluation, narrowed: Narrowed) -> Story:
    near = tuple(_near(view, narrowed))
    counts = view.counts.tolist()
    lost = [_lost(view, code, counts[code]) for code in _TOLD if counts[code]]
    for out in _joined(narrowed.lost):
        lost.append(Lost(out.reason, out.count, tuple(map(view.hosts.name, out.rows)), out.text(out.rows[0])))
    candidates = view.candidates()
    texts = tuple(_texts(view, narrowed)) if candidates <= NAMED else ()
    helps = (*(_room(view, n) for n in near[:1]), *_helps(view))
    if ask.pinned and view.hosts.row(ask.pinned) < 0:
        helps = (f"make Host {ask.pinned}", *helps)
    return Story(candidates=candidates, fitting=0, lost=tuple(lost), near=near, helps=helps, texts=texts)


def _room(view: Evaluation, near: Near) -> str:
    """What would make room: on that host, if it is big enough at all."""
    record, shape = view.hosts.records[view.hosts.row(near.host)], view.shape
    if record.big_enough(shape.cpus, shape.memory):
        return f"free {near.missing} on {near.host}"
    cpus = f"{shape.cpus} CPU{'s' if shape.cpus != 1 else ''}"
    return f"add a host with {cpus} and {shorten_quantity(shape.memory)} memory free (none is so big)"


_TOLD = tuple(code for code, reason in enumerate(REASONS) if reason not in ("", OTHER_ZONE))


def _joined(outs: list[Out]) -> list[Out]:
    """One for each reason."""
    found: dict[str, Out] = {}
    for out in outs:
        old = found.get(out.reason)
        found[out.reason] = (
            Out(out.reason, old.count + out.count, (*old.rows, *out.rows)[:SAMPLES], old.text) if old else out
        )
    return list(found.values())


def _lost(view: Evaluation, code: int, count: int) -> Lost:
    rows = _sample(view, code, count)
    names = tuple(sorted(map(view.hosts.name, rows)))
    return Lost(REASONS[code], count, names, FILTERS[code - 1].tells(view, rows[0]))


def _sample(view: Evaluation, code: int, count: int) -> list[int]:
    rows = view.samples.get(code, [])
    if len(rows) != min(count, SAMPLES) or any(view.code[row] != code for row in rows):
        rows = view.samples[code] = np.flatnonzero(view.code == code)[:SAMPLES].tolist()
    return rows


def _near(view: Evaluation, narrowed: Narrowed) -> Iterator[Near]:
    """Hosts that lack room alone, the least of it first."""
    score = narrowed.own()
    for _ in range(NAMED):
        row = int(np.argmax(score))
        if score[row] > FITS or score[row] < NEAR - 2:
            return
        score[row] = NEVER
        code = int(view.code[row])
        yield Near(view.hosts.name(row), REASONS[code], _missing(view, row), FILTERS[code - 1].tells(view, row))


def _missing(view: Evaluation, row: int) -> str:
    """What a host lacks in room: `1 CPU and 2.8Gi memory`."""
    cpus = view.shape.cpus - int(view.hosts.free_cpus[row])
    memory = view.shape.memory - int(view.hosts.free_memory[row])
    parts = [f"{cpus} CPU{'s' if cpus != 1 else ''}"] if cpus > 0 else []
    if memory > 0:
        parts.append(f"{shorten_quantity(memory)} memory")
    return " and ".join(parts)


def _texts(view: Evaluation, narrowed: Narrowed) -> Iterator[tuple[str, str]]:
    """Every candidate with why not."""
    outs = {row: out.text(row) for out in reversed(narrowed.lost) for row in out.rows}
    size = view.hosts.size
    rows = np.flatnonzero((view.code[:size] != REASONS.index(OTHER_ZONE)) & view.hosts.alive[:size]).tolist()
    for row in sorted(rows, key=view.hosts.name):
        code = int(view.code[row])
        yield view.hosts.name(row), FILTERS[code - 1].tells(view, row) if code else outs.get(row, "")


def _helps(view: Evaluation) -> tuple[str, ...]:
    """Hosts that one thing alone keeps out; looked for again when a host changed its look, and now and then."""
    seen = view.hosts.changed.end
    if view.helps is not None and view.helps[0] == seen and view.refreshed - view.helps[1] < HELPS_FOR:
        return view.helps[2]
    found: list[str] = []
    for code in _TOLD:
        filter_ = FILTERS[code - 1]
        if not filter_.helps or not view.counts[code]:
            continue
        for row in _sample(view, code, int(view.counts[code]))[:2]:
            if view.judge_alone(row, without=code) == 0:
                found.append(filter_.helps.format(host=view.hosts.name(row), text=filter_.tells(view, row)))
                break
    view.helps = seen, view.refreshed, tuple(found[:4])
    return view.helps[2]
