"""An API server in memory: our kinds, Namespaces and Leases, with the real one's rules for versions, generations,
finalizers, the status subresource, defaults and what a schema refuses; tests/soak/model/test_store.py compares them.

It serves the engine's client (`operator.MemoryClient`), tells watches, and is what the model's user edits.
"""

import copy
import json
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from controllers.engine.base import ApiError
from controllers.engine.client import METADATA_ONLY
from crds.base import API_VERSION, Kind, format_time
from crds.kinds import KINDS
from crds.schema import root_schema
from tests.model.clock import Clock
from tests.model.schema import pruned, wrong

Obj = dict[str, Any]
Place = tuple[str, str, str]
"""(plural, namespace, name)."""
_PATH = re.compile(r"/apis/stratiform\.dev/v1alpha1(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?(?:/(status))?$")
_OTHERS = re.compile(
    r"/(?:api/v1|apis/coordination\.k8s\.io/v1)(?:/namespaces/([^/]+))?/(namespaces|leases)(?:/([^/]+))?$"
)
_CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
_KINDS: dict[str, Kind] = {kind.plural: kind for kind in KINDS.values()}
_SCHEMAS = {kind.plural: root_schema(kind) for kind in KINDS.values()}
_WATCHED = {**{plural: kind.kind for plural, kind in _KINDS.items()}, "namespaces": "Namespace"}


class Store:
    """Synchronous; raises ApiError as the engine's client does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._objects: dict[Place, Obj] = {}
        self._version = 0
        self._numbers = 0
        self.events: list[Obj] = []
        self.told: list[Callable[[str, str, Obj], None]] = []
        """Called with kind, type and object of each change: watches, and whoever keeps a record."""

    # ------------------------------------------------------------ as a client sees it

    def request(self, verb: str, path: str, body: Mapping[str, Any] | None, accept: str = "") -> Obj:
        if path.startswith("/apis/events.k8s.io"):
            self.events.append(dict(body or {}))
            return dict(body or {})
        if path.startswith(_CRD):
            return {"metadata": {"name": path.removeprefix(_CRD)}}
        found = _PATH.match(path) or _OTHERS.match(path)
        if found is None:
            raise ApiError(404, "NoSuchResource", path)
        namespace, plural, name = found[1] or "", found[2], found[3] or ""
        sub = found[4] or "" if found.re is _PATH else ""
        body = json.loads(json.dumps(body)) if body is not None else {}
        place = (plural, namespace, name)
        match verb:
            case "GET" if name:
                return copy.deepcopy(self._at(place))
            case "GET":
                return self._list(plural, namespace, accept)
            case "POST":
                return self._create(plural, namespace, body)
            case "PUT":
                return self._replace(place, body, sub)
            case "PATCH":
                return self._replace(place, _merged(self._at(place), body), sub)
        return self._delete(place, (body.get("preconditions") or {}).get("uid"))

    # ------------------------------------------------------------ as a person sees it

    def create(self, kind: str, name: str, spec: Mapping[str, Any], namespace: str = "", **metadata: Any) -> Obj:
        place = {"namespace": namespace} if namespace else {}
        body = {"metadata": {"name": name, **place, **metadata}, "spec": dict(spec)}
        return self._create(KINDS[kind].plural, namespace, copy.deepcopy(body))

    def get(self, kind: str, name: str, namespace: str = "") -> Obj | None:
        return self._objects.get((KINDS[kind].plural, namespace, name))

    def all(self, kind: str) -> list[Obj]:
        """As they are: not to be changed."""
        plural = KINDS[kind].plural
        return [obj for place, obj in sorted(self._objects.items()) if place[0] == plural]

    def patch(self, kind: str, name: str, body: Mapping[str, Any], namespace: str = "") -> Obj:
        place = (KINDS[kind].plural, namespace, name)
        return self._replace(place, _merged(self._at(place), body), "")

    def wipe_status(self, kind: str, name: str, namespace: str = "") -> None:
        place = (KINDS[kind].plural, namespace, name)
        self._replace(place, {**self._at(place), "status": {}}, "status")

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        self._delete((KINDS[kind].plural, namespace, name), None)

    def namespace(self, name: str) -> None:
        self._save(("namespaces", "", name), {"metadata": {"name": name, **self._born(), "labels": {}}}, "ADDED")

    # ------------------------------------------------------------ inside

    def _at(self, place: Place) -> Obj:
        found = self._objects.get(place)
        if found is None:
            raise ApiError(404, "NotFound", f"{place[0]} {place[2]} not found")
        return found

    def _list(self, plural: str, namespace: str, accept: str) -> Obj:
        items = [o for (p, n, _), o in sorted(self._objects.items()) if p == plural and namespace in ("", n)]
        if accept == METADATA_ONLY:
            items = [{"metadata": o["metadata"]} for o in items]
        return {"metadata": {"resourceVersion": str(self._version)}, "items": copy.deepcopy(items)}

    def _create(self, plural: str, namespace: str, body: Obj) -> Obj:
        metadata = body["metadata"]
        place = (plural, namespace or metadata.get("namespace", ""), metadata["name"])
        if place in self._objects:
            raise ApiError(409, "AlreadyExists", f"{plural} {place[2]} already exists")
        body["metadata"] = {
            **metadata,
            **({"namespace": place[1]} if place[1] else {}),
            **self._born(),
            "generation": 1,
        }
        if plural in _KINDS:
            body.pop("status", None)
            body = {**self._checked(plural, body), "apiVersion": API_VERSION, "kind": _KINDS[plural].kind}
        return copy.deepcopy(self._save(place, body, "ADDED"))

    def _born(self) -> Obj:
        self._numbers += 1
        uid = str(uuid.uuid5(uuid.NAMESPACE_OID, str(self._numbers)))
        return {"uid": uid, "creationTimestamp": format_time(self._clock.now().replace(microsecond=0))}

    def _replace(self, place: Place, new: Obj, sub: str) -> Obj:
        old = self._at(place)
        asked = new.get("metadata") or {}
        if asked.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            raise ApiError(409, "Conflict", f"{place[0]} {place[2]}: the uid is another")
        if asked.get("resourceVersion") not in (None, old["metadata"]["resourceVersion"]):
            raise ApiError(409, "Conflict", f"{place[0]} {place[2]}: the object has been modified")
        new = self._changed(place[0], old, new, sub)
        if new == old:
            return copy.deepcopy(old)
        metadata = new["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self._remove(place, new)
            return copy.deepcopy(new)
        return copy.deepcopy(self._save(place, new, "MODIFIED"))

    def _changed(self, plural: str, old: Obj, new: Obj, sub: str) -> Obj:
        """What of `new` counts."""
        if plural not in _KINDS:
            return {**new, "metadata": {**old["metadata"], **new["metadata"]}}
        if sub == "status":
            body = {**old, "status": new.get("status", {})} if "status" in new else _without(old, "status")
            return self._checked(plural, body)
        kept = {
            name: old["metadata"][name]
            for name in ("uid", "creationTimestamp", "resourceVersion", "generation", "deletionTimestamp")
            if name in old["metadata"]
        }
        metadata = {**new["metadata"], **kept}
        if metadata.get("deletionTimestamp") and set(metadata.get("finalizers") or ()) - set(
            old["metadata"].get("finalizers") or ()
        ):
            raise ApiError(422, "Invalid", "no new finalizers can be added if the object is being deleted")
        metadata = {name: value for name, value in metadata.items() if value not in (None, [], {})}
        body = self._checked(
            plural, {**new, "metadata": metadata, **({"status": old["status"]} if "status" in old else {})}
        )
        if body["spec"] != old["spec"]:
            body["metadata"] = {**metadata, "generation": old["metadata"]["generation"] + 1}
        return body

    def _checked(self, plural: str, body: Obj) -> Obj:
        schema = _SCHEMAS[plural]
        metadata = body["metadata"]
        body = pruned({name: value for name, value in body.items() if name != "metadata"}, schema)
        if found := list(wrong(body, schema)):
            raise ApiError(422, "Invalid", "; ".join(found))
        return {**body, "metadata": metadata}

    def _delete(self, place: Place, uid: str | None) -> Obj:
        old = self._at(place)
        if uid not in (None, old["metadata"]["uid"]):
            raise ApiError(409, "Conflict", f"{place[0]} {place[2]}: the uid in the precondition is another")
        if not old["metadata"].get("finalizers"):
            return self._remove(place, old)
        if old["metadata"].get("deletionTimestamp"):
            return copy.deepcopy(old)
        metadata = {
            **old["metadata"],
            "deletionTimestamp": format_time(self._clock.now().replace(microsecond=0)),
            "generation": old["metadata"]["generation"] + 1,
        }
        return copy.deepcopy(self._save(place, {**old, "metadata": metadata}, "MODIFIED"))

    def _remove(self, place: Place, last: Obj) -> Obj:
        del self._objects[place]
        return copy.deepcopy(self._stamped(place, last, "DELETED"))

    def _save(self, place: Place, obj: Obj, type_: str) -> Obj:
        return self._stamped(place, obj, type_, keep=True)

    def _stamped(self, place: Place, obj: Obj, type_: str, *, keep: bool = False) -> Obj:
        self._version += 1
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self._version)}}
        if keep:
            self._objects[place] = obj
        for tell in tuple(self.told) if place[0] in _WATCHED else ():
            tell(_WATCHED[place[0]], type_, copy.deepcopy(obj))
        return obj


def _merged(old: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    new = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            new.pop(name, None)
        else:
            new[name] = _merged(new.get(name), value)
    return new


def _without(obj: Obj, name: str) -> Obj:
    return {key: value for key, value in obj.items() if key != name}
