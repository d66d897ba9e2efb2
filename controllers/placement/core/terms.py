"""Counts per affinity term: in which topology domains its members are, and the carriers who keep members away.

A term is known from the first time that somebody names it; from then on every claim that matches it is counted, so
that a decision looks at the term's own domains only, never at the other instances.
"""

from collections.abc import Iterable

import numpy as np

from controllers.placement.core.asks import Claim, Labels, TermKey
from controllers.placement.core.hosts import Hosts, Rows

_ANY = ("", "")
"""Where a term without labels is filed."""


class Domains:
    """A multiset of domain numbers; its distinct members are always at hand as an array."""

    __slots__ = ("_at", "_ids", "_times", "size")

    def __init__(self) -> None:
        self.size = 0
        self._ids = np.empty(4, np.intp)
        self._times = np.empty(4, np.float32)
        self._at: dict[int, int] = {}

    @property
    def ids(self) -> Rows:
        return self._ids[: self.size]

    @property
    def times(self) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        """How often each of `ids` is in it."""
        return self._times[: self.size]

    def add(self, domain: int) -> None:
        at = self._at.get(domain)
        if at is not None:
            self._times[at] += 1
            return
        if self.size == len(self._ids):
            self._ids = np.concatenate((self._ids, np.empty_like(self._ids)))
            self._times = np.concatenate((self._times, np.empty_like(self._times)))
        self._at[domain], self._ids[self.size], self._times[self.size] = self.size, domain, 1
        self.size += 1

    def drop(self, domain: int) -> None:
        at = self._at[domain]
        self._times[at] -= 1
        if self._times[at] > 0:
            return
        self.size -= 1
        last = int(self._ids[self.size])
        self._ids[at], self._times[at] = last, self._times[self.size]
        self._at[last] = at
        del self._at[domain]


class Term:
    """`members`: of those who match. `carriers`: of those who carry it as required anti-affinity."""

    __slots__ = ("carriers", "carry", "key", "members")

    def __init__(self, key: TermKey) -> None:
        self.key = key
        self.carry: dict[str, Claim] = {}
        """By uid: those whose domains `carriers` has."""
        self.members, self.carriers = Domains(), Domains()


class Terms:
    """Fed with every claim that comes and goes."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._terms: dict[TermKey, Term] = {}
        self._filed: dict[tuple[str, tuple[str, str]], list[Term]] = {}
        """(namespace, one label of the selector) → terms: who has the label may match them."""
        self._claims: dict[tuple[str, tuple[str, str]], dict[str, Claim]] = {}

    def term(self, key: TermKey) -> Term:
        """Counted from all claims when it is first named."""
        found = self._terms.get(key)
        if found is None:
            found = self._terms[key] = Term(key)
            place = (key.namespace, _file(key.selector))
            self._filed.setdefault(place, []).append(found)
            for claim in self._claims.get(place, {}).values():
                if key.selector <= claim.labels:
                    for domain in self._where(claim, key.topology):
                        found.members.add(domain)
        return found

    def matching(self, namespace: str, labels: Labels) -> Iterable[Term]:
        """Known terms whose selector these labels fulfil."""
        for place in (_ANY, *labels):
            for term in self._filed.get((namespace, place), ()):
                if term.key.selector <= labels:
                    yield term

    def add(self, uid: str, claim: Claim) -> None:
        for place in (_ANY, *claim.labels):
            self._claims.setdefault((claim.namespace, place), {})[uid] = claim
        for term in self.matching(claim.namespace, claim.labels):
            for domain in self._where(claim, term.key.topology):
                term.members.add(domain)
        for key in claim.carried:
            term = self.term(key)
            term.carry[uid] = claim
            for domain in self._where(claim, key.topology):
                term.carriers.add(domain)

    def drop(self, uid: str, claim: Claim) -> None:
        for place in (_ANY, *claim.labels):
            held = self._claims[claim.namespace, place]
            del held[uid]
            if not held:
                del self._claims[claim.namespace, place]
        for term in self.matching(claim.namespace, claim.labels):
            for domain in self._where(claim, term.key.topology):
                term.members.drop(domain)
        for key in claim.carried:
            self._terms[key].carry.pop(uid, None)
            for domain in self._where(claim, key.topology):
                self._terms[key].carriers.drop(domain)

    def carrier(self, term: Term, row: int) -> str:
        """Name of one who carries the term in the row's domain."""
        domain = self._hosts.domain(row, term.key.topology)
        return next((c.name for c in term.carry.values() if domain in self._where(c, term.key.topology)), "")

    def prune(self) -> None:
        """Forget terms that nobody matches or carries; they are counted anew when named again."""
        idle = [t for t in self._terms.values() if not t.members.size and not t.carriers.size]
        for term in idle:
            del self._terms[term.key]
            place = (term.key.namespace, _file(term.key.selector))
            self._filed[place].remove(term)
            if not self._filed[place]:
                del self._filed[place]

    def __len__(self) -> int:
        return len(self._terms)

    def _where(self, claim: Claim, topology: str) -> set[int]:
        return {self._hosts.domain(self._hosts.intern(host), topology) for host in claim.hosts}


def _file(selector: Labels) -> tuple[str, str]:
    return min(selector) if selector else _ANY
