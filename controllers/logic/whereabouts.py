"""Which hosts show a domain, by its UUID and by the mark that it bears, so that nobody has to look through all hosts.

Pure; kept by `controllers.logic.sightings`, which tells every change of what a host showed.
"""

from typing import TypeVar

from drivers.base import InstanceFacts

K = TypeVar("K")
V = TypeVar("V")
Place = tuple[str, str]
"""Host and UUID."""


class Whereabouts:
    """Tuples, as nearly every one has one entry and there are many."""

    def __init__(self) -> None:
        self._hosts: dict[str, tuple[str, ...]] = {}
        self._named: dict[tuple[str, str], tuple[Place, ...]] = {}
        self._owned: dict[str, tuple[Place, ...]] = {}

    def hosts(self, uuid: str) -> tuple[str, ...]:
        return self._hosts.get(uuid, ())

    def named(self, namespace: str, name: str) -> tuple[Place, ...]:
        """Where the mark names that Instance."""
        return self._named.get((namespace, name), ())

    def owned(self, uid: str) -> tuple[Place, ...]:
        """Where the mark names the object of that uid."""
        return self._owned.get(uid, ())

    def changed(self, host: str, uuid: str, old: InstanceFacts | None, new: InstanceFacts | None) -> None:
        """`old` and `new`: what the host showed of it, None for nothing."""
        if old is None and new is not None:
            _put(self._hosts, uuid, host)
        elif old is not None and new is None:
            _drop(self._hosts, uuid, host)
        was, now = old.mark if old else None, new.mark if new else None
        place = (host, uuid)
        if was is not None and (now is None or (was.namespace, was.name) != (now.namespace, now.name)):
            _drop(self._named, (was.namespace, was.name), place)
        if was is not None and (now is None or was.uid != now.uid):
            _drop(self._owned, was.uid, place)
        if now is not None:
            _put(self._named, (now.namespace, now.name), place)
            _put(self._owned, now.uid, place)


def _put(index: dict[K, tuple[V, ...]], key: K, value: V) -> None:
    found = index.get(key, ())
    if value not in found:
        index[key] = (*found, value)


def _drop(index: dict[K, tuple[V, ...]], key: K, value: V) -> None:
    left = tuple(other for other in index.get(key, ()) if other != value)
    if left:
        index[key] = left
    else:
        index.pop(key, None)
