"""What one instance adds to its shape: a pin, starts that failed, required and preferred (anti-)affinity, preferred
hosts, its last host. Works on a copy of the shape's scores, and only where there is something to take away; wishes are
looked at in the rows that they speak of, which are mostly few beside all hosts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from controllers.placement.core.asks import Ask, TermWant
from controllers.placement.core.evaluation import FITS, NEVER, Evaluation
from controllers.placement.core.filters import PINNED
from controllers.placement.core.hosts import Floats, Hosts, Rows
from controllers.placement.core.terms import Domains, Term, Terms
from controllers.placement.core.weighers import LAST_HOST, PREFERRED

SAMPLED = 8


@dataclass(frozen=True, slots=True)
class Out:
    """Hosts that the shape lets through and this instance does not."""

    reason: str
    count: int
    rows: tuple[int, ...]
    text: Callable[[int], str]
    """Why that row is lost, in words that fit after the host's name."""


@dataclass(slots=True)
class Narrowed:
    score: Floats
    """The evaluation's own while `mine` is False: not to be written. Without wishes."""
    mine: bool = False
    lost: list[Out] = field(default_factory=list)
    wished: Rows | None = None
    """Rows that the last host, preferred hosts or preferred terms speak of; one may be in it twice."""
    bonus: Floats | None = None
    """What these add there, for each of `wished`."""

    def best(self) -> tuple[int, float, float]:
        """(row, score, what the wishes add to it): of equals the first row. Cost: one `argmax`, and the wished rows."""
        score, wished, bonus = self.score, self.wished, self.bonus
        if wished is None or bonus is None or not len(wished):
            row = int(score.argmax())
            return row, float(score[row]), 0.0
        without = score[wished]
        total = without + bonus
        at = int(total.argmax())
        mine = int(wished[at])
        # Nobody else looks meanwhile: decisions are serial.
        score[wished] = NEVER
        other = int(score.argmax())
        value = score[other]
        score[wished] = without
        if value > total[at] or (value == total[at] and other < mine and value > NEVER):
            return other, float(value), 0.0
        return mine, float(total[at]), float(bonus[at])

    def own(self) -> Floats:
        if not self.mine:
            self.score, self.mine = self.score.copy(), True
        return self.score

    def lose(self, reason: str, rows: Rows, text: Callable[[int], str]) -> None:
        score = self.own()
        if not len(rows):
            return
        fitted = rows[score[rows] > FITS]
        score[rows] = NEVER
        if len(fitted):
            self.lost.append(Out(reason, len(fitted), tuple(fitted[:SAMPLED].tolist()), text))


def narrow(ask: Ask, view: Evaluation, terms: Terms) -> Narrowed:
    """Pure: neither evaluation nor terms are changed."""
    found = Narrowed(view.score)
    hosts = view.hosts
    if ask.pinned:
        others = np.ones(hosts.size, np.bool_)
        row = hosts.row(ask.pinned)
        if row >= 0:
            others[row] = False
        found.lose(PINNED, np.flatnonzero(others), lambda _: f"is not the pinned host {ask.pinned}")
    if ask.avoid:
        rows = np.array([r for r in map(hosts.row, sorted(ask.avoid)) if r >= 0], np.intp)
        found.lose("FailedToStart", rows, lambda _: "just failed to start it")
    for want in ask.terms:
        if not want.weight:
            _require(found, hosts, want, terms.term(want.key))
    for term in terms.matching(ask.shape.namespace, ask.labels):
        if term.carriers.size:
            rows = _inside(hosts, term.carriers, term.key.topology)
            found.lose("Affinity", rows, partial(_kept_away, terms, term))
    _prefer(found, ask, hosts, terms)
    return found


def _require(found: Narrowed, hosts: Hosts, want: TermWant, term: Term) -> None:
    if want.anti:
        if term.members.size:
            rows = _inside(hosts, term.members, want.key.topology)
            found.lose("Affinity", rows, lambda _: f"already holds a member of antiAffinity {want.key}")
    elif term.members.size:
        outside = np.ones(hosts.size, np.bool_)
        outside[_inside(hosts, term.members, want.key.topology)] = False
        found.lose("Affinity", np.flatnonzero(outside), lambda _: f"is not where a member of affinity {want.key} runs")


def _kept_away(terms: Terms, term: Term, row: int) -> str:
    return f"already holds Instance {terms.carrier(term, row)}, whose antiAffinity this one matches"


def _inside(hosts: Hosts, domains: Domains, topology: str) -> Rows:
    """Rows in any of the domains."""
    return domains.ids if topology == "Host" else hosts.rows_in(topology, domains.ids)[0]


def _prefer(found: Narrowed, ask: Ask, hosts: Hosts, terms: Terms) -> None:
    """The second member of a domain says less than the first."""
    parts: list[tuple[Rows, Floats]] = []
    for want in ask.terms:
        members = terms.term(want.key).members if want.weight else None
        if members is None or not members.size:
            continue
        sign = -1.0 if want.anti else 1.0
        worth = np.float32(sign * PREFERRED * want.weight / 100) * members.times / (members.times + 1)
        if want.key.topology == "Host":
            parts.append((members.ids, worth))
        else:
            rows, which = hosts.rows_in(want.key.topology, members.ids)
            parts.append((rows, worth[which]))
    for wish in ask.wishes:
        rows = hosts.rows_with(wish.selector)
        parts.append((rows, np.full(len(rows), PREFERRED * wish.weight / 100, np.float32)))
    row = hosts.row(ask.prefer) if ask.prefer else -1
    if row >= 0:
        parts.append((np.array([row], np.intp), np.array([LAST_HOST[hosts.policy[row]]], np.float32)))
    if len(parts) == 1:
        found.wished, found.bonus = parts[0]
    elif parts:
        found.wished = np.concatenate([rows for rows, _ in parts])
        found.bonus = _summed(hosts.scratch, parts, found.wished)


def _summed(scratch: Floats, parts: list[tuple[Rows, Floats]], rows: Rows) -> Floats:
    """Of parts that may speak of the same rows. `scratch` is zero before and after."""
    for some, worth in parts:
        scratch[some] += worth
    total: Floats = scratch[rows]
    scratch[rows] = 0.0
    return total
