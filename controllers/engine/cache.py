"""All objects of all our kinds in memory, with indexes and who refers to whom. Fed by watch, relist and own writes.

Read by every reconciler; lives in the engine's loop. What a change means for others is told through `wake`.
"""

import enum
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from controllers import metrics
from controllers.engine.base import Key, Obj, Reconciler, default_signal
from controllers.engine.parsing import key_of, parse
from crds.base import Kind

_TOMBSTONES = 20_000
log = structlog.get_logger(__name__)


class Why(enum.Enum):
    """Why an object should be reconciled."""

    CHANGED = "changed"
    """Somebody created it, changed its spec or metadata, or asked for its deletion."""
    STATUS = "status"
    """Somebody else wrote its status."""
    REFERRED = "referred"
    """An object that it refers to appeared, went or changed its signal."""
    CHILD = "child"
    """An object that refers to it did, and it is of a kind that sums up."""
    LAST_CHILD = "last child"
    """The same, while its deletion may be waiting for that."""


@dataclass(slots=True)
class _Entry:
    obj: Obj[Any, Any]
    version: int
    signal: object
    references: frozenset[Key]
    indexed: frozenset[tuple[str, str]]


class ObjectCache:
    """Implements `controllers.engine.base.Cache`. No call blocks or raises because of what an object contains."""

    def __init__(
        self,
        kinds: Mapping[str, Kind],
        reconcilers: Mapping[str, Reconciler[Any, Any]],
        wake: Callable[[Key, Why], None],
    ) -> None:
        self._kinds = kinds
        self._reconcilers = reconcilers
        self._wake = wake
        self._entries: dict[str, dict[Key, _Entry]] = {kind: {} for kind in kinds}
        self._by_uid: dict[str, Key] = {}
        # Dictionaries without values: sets that keep the order of coming, so that messages do not change without need.
        self._referrers: defaultdict[Key, dict[Key, None]] = defaultdict(dict)
        self._index: defaultdict[tuple[str, str], dict[Key, None]] = defaultdict(dict)
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._namespaces: dict[str, tuple[int, Mapping[str, str]]] = {}
        self._told: list[Callable[[Key], None]] = []

    # What reconcilers read -------------------------------------------------------------------------------------------

    def get(self, kind: str, namespace: str, name: str) -> Obj[Any, Any] | None:
        return self.at(Key(kind, namespace, name))

    def at(self, key: Key) -> Obj[Any, Any] | None:
        entry = self._entries[key.kind].get(key) if key.kind in self._entries else None
        return entry.obj if entry else None

    def by_uid(self, uid: str) -> Obj[Any, Any] | None:
        key = self._by_uid.get(uid)
        return self.at(key) if key else None

    def all(self, kind: str) -> Iterable[Obj[Any, Any]]:
        return [entry.obj for entry in self._entries[kind].values()]

    def referrers(self, key: Key, kind: str | None = None) -> Iterable[Obj[Any, Any]]:
        keys = [key for key in self._referrers.get(key, ()) if kind is None or key.kind == kind]
        return [obj for obj in map(self.at, keys) if obj is not None]

    def indexed(self, index: str, value: str) -> Iterable[Obj[Any, Any]]:
        return [obj for obj in map(self.at, self._index.get((index, value), ())) if obj is not None]

    def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        found = self._namespaces.get(namespace)
        return found[1] if found else None

    def namespaces(self) -> Mapping[str, Mapping[str, str]]:
        """Every core Namespace with its labels."""
        return {name: labels for name, (_, labels) in self._namespaces.items()}

    def subscribe(self, told: Callable[[Key], None]) -> None:
        self._told.append(told)

    # What feeds it ---------------------------------------------------------------------------------------------------

    def apply(self, kind: str, raw: Mapping[str, Any], *, own: bool = False) -> bool:
        """A version of an object, from wherever; ignored unless newer than what is known. True if it was taken.

        `own`: the answer to a write of the object's own turn, which does not wake the object itself.
        """
        if kind == "Namespace":
            return self._apply_namespace(raw)
        key, uid, version = key_of(kind, raw), raw["metadata"]["uid"], int(raw["metadata"]["resourceVersion"])
        entry = self._entries[kind].get(key)
        if uid in self._gone or (entry is not None and entry.version >= version):
            return False
        if entry is not None and entry.obj.uid != uid:
            self._remove(entry)
            entry = None
        old = entry.obj if entry else None
        obj = parse(self._kinds[kind], raw, old)
        if obj.problem and (old is None or old.problem != obj.problem):
            log.warning("spec cannot be read", object=str(key), uid=uid, problem=obj.problem)
        self._put(entry, obj, version)
        if not own:
            why = _difference(old, obj)
            if why is not None:
                self._wake(key, why)
        return True

    def remove(self, key: Key, uid: str) -> bool:
        """The object with that uid is gone for good. True if it was there."""
        if key.kind == "Namespace":
            found = self._namespaces.pop(key.name, None) is not None
            self._tell(key)
            return found
        self._bury(uid)
        entry = self._entries[key.kind].get(key)
        if entry is None or entry.obj.uid != uid:
            return False
        self._remove(entry)
        return True

    def is_gone(self, uid: str) -> bool:
        """Whether an object of that uid was seen to be gone."""
        return uid in self._gone

    def versions(self, kind: str) -> dict[Key, tuple[str, int]]:
        """uid and resource version of all that is known of a kind (Namespaces have the uid "")."""
        if kind == "Namespace":
            return {Key(kind, "", name): ("", version) for name, (version, _) in self._namespaces.items()}
        return {key: (entry.obj.uid, entry.version) for key, entry in self._entries[kind].items()}

    def known(self) -> list[Key]:
        return [key for entries in self._entries.values() for key in entries]

    def measure(self, *, thorough: bool) -> None:
        """Set the gauges of /metrics. `thorough`: also those for which every object is looked at."""
        for kind, entries in self._entries.items():
            metrics.OBJECTS.labels(kind).set(len(entries))
            if thorough:
                metrics.UNREADABLE.labels(kind).set(sum(1 for entry in entries.values() if entry.obj.problem))

    # Inside ----------------------------------------------------------------------------------------------------------

    def _put(self, entry: _Entry | None, obj: Obj[Any, Any], version: int) -> None:
        key = obj.key
        signal, references, indexed = self._derive(obj, entry)
        if entry is None:
            entry = self._entries[key.kind][key] = _Entry(obj, version, signal, frozenset(), frozenset())
            self._by_uid[obj.uid] = key
            appeared = True
        else:
            appeared = False
        before, changed = entry.references, appeared or entry.signal != signal
        self._relate(key, before, references)
        for old in entry.indexed - indexed:
            self._unindex(old, key)
        for new in indexed - entry.indexed:
            self._index[new][key] = None
        entry.obj, entry.version, entry.signal = obj, version, signal
        entry.references, entry.indexed = references, indexed
        self._tell(key)
        if changed:
            self._wake_referrers(key)
        touched = before | references if changed else before ^ references
        self._wake_targets(touched)

    def _remove(self, entry: _Entry) -> None:
        key = entry.obj.key
        del self._entries[key.kind][key]
        self._by_uid.pop(entry.obj.uid, None)
        self._bury(entry.obj.uid)
        self._relate(key, entry.references, frozenset())
        for pair in entry.indexed:
            self._unindex(pair, key)
        self._tell(key)
        self._wake_referrers(key)
        self._wake_targets(entry.references)

    def _tell(self, key: Key) -> None:
        for told in self._told:
            told(key)

    def _derive(
        self, obj: Obj[Any, Any], entry: _Entry | None
    ) -> tuple[object, frozenset[Key], frozenset[tuple[str, str]]]:
        """Signal, references and index values; after a bug in a kind's function the former ones."""
        reconciler = self._reconcilers.get(obj.key.kind)
        if reconciler is None:
            return default_signal(obj), frozenset(), frozenset()
        try:
            return (
                reconciler.signal(obj),
                frozenset(reconciler.references(obj)),
                frozenset((name, value) for name, read in reconciler.indexes.items() for value in read(obj)),
            )
        except Exception:
            metrics.BUGS.labels(obj.key.kind).inc()
            log.exception("signal, references or indexes failed", object=str(obj.key), uid=obj.uid)
            if entry is not None:
                return default_signal(obj), entry.references, entry.indexed
            return default_signal(obj), frozenset(), frozenset()

    def _relate(self, key: Key, before: frozenset[Key], after: frozenset[Key]) -> None:
        for target in before - after:
            self._referrers[target].pop(key, None)
            if not self._referrers[target]:
                del self._referrers[target]
        for target in after - before:
            self._referrers[target][key] = None

    def _unindex(self, pair: tuple[str, str], key: Key) -> None:
        self._index[pair].pop(key, None)
        if not self._index[pair]:
            del self._index[pair]

    def _wake_referrers(self, key: Key) -> None:
        for referrer in list(self._referrers.get(key, ())):
            self._wake(referrer, Why.REFERRED)

    def _wake_targets(self, targets: Iterable[Key]) -> None:
        for target in targets:
            obj = self.at(target)
            if obj is None:
                continue
            if obj.deleting:
                self._wake(target, Why.LAST_CHILD)
            elif self._reconcilers[target.kind].roll_up if target.kind in self._reconcilers else False:
                self._wake(target, Why.CHILD)

    def _bury(self, uid: str) -> None:
        self._gone[uid] = None
        if len(self._gone) > _TOMBSTONES:
            self._gone.popitem(last=False)

    def _apply_namespace(self, raw: Mapping[str, Any]) -> bool:
        metadata = raw["metadata"]
        version, labels = int(metadata["resourceVersion"]), metadata.get("labels") or {}
        known = self._namespaces.get(metadata["name"])
        if known is not None and known[0] >= version:
            return False
        self._namespaces[metadata["name"]] = (version, labels)
        if known is None or known[1] != labels:
            self._tell(Key("Namespace", "", metadata["name"]))
            self._wake_referrers(Key("Namespace", "", metadata["name"]))
        return True


def _difference(old: Obj[Any, Any] | None, new: Obj[Any, Any]) -> Why | None:
    if (
        old is None
        or old.generation != new.generation
        or old.deleting != new.deleting
        or old.finalizers != new.finalizers
        or old.annotations != new.annotations
        or old.labels != new.labels
    ):
        return Why.CHANGED
    return Why.STATUS if old.packed_status != new.packed_status else None
