"""What one instance adds to its shape: a pin, starts that failed, required and preferred (anti-)affinity, its last
host. Works on a copy of the shape's scores, and only where there is something to add.
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
    """The evaluation's own while `mine` is False: not to be written."""
    mine: bool = False
    lost: list[Out] = field(default_factory=list)
    preferred: Floats | None = None
    """What the last host and preferred terms added to the score."""

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
    """Rows in any of the domains. Number -1, not known, is filed last and never inside."""
    if topology == "Host":
        return domains.ids
    flags = np.zeros(hosts.domain_count(topology) + 1, np.bool_)
    flags[domains.ids] = True
    flags[-1] = False
    return np.flatnonzero(flags.take(hosts.domains(topology)[: hosts.size]))


def _prefer(found: Narrowed, ask: Ask, hosts: Hosts, terms: Terms) -> None:
    row = hosts.row(ask.prefer) if ask.prefer else -1
    wants = [(want, terms.term(want.key).members) for want in ask.terms if want.weight]
    wants = [(want, members) for want, members in wants if members.size]
    if row < 0 and not wants:
        return
    found.preferred = _bonus(hosts, wants, len(found.score))
    if row >= 0:
        found.preferred[row] += np.float32(LAST_HOST[hosts.policy[row]])
    if found.mine:
        found.score += found.preferred
    else:
        found.score, found.mine = found.score + found.preferred, True


def _bonus(hosts: Hosts, wants: list[tuple[TermWant, Domains]], capacity: int) -> Floats:
    """Of all preferred terms: the second member of a domain says less than the first."""
    total: Floats | None = None
    for want, members in sorted(wants, key=lambda pair: pair[0].key.topology == "Host"):
        sign = -1.0 if want.anti else 1.0
        worth = np.float32(sign * PREFERRED * want.weight / 100) * members.times / (members.times + 1)
        if want.key.topology == "Host":
            total = np.zeros(capacity, np.float32) if total is None else total
            total[members.ids] += worth
            continue
        table = np.zeros(hosts.domain_count(want.key.topology) + 1, np.float32)
        table[members.ids] = worth
        table[-1] = 0.0
        found = table.take(hosts.domains(want.key.topology))
        total = found if total is None else total + found
    return np.zeros(capacity, np.float32) if total is None else total
