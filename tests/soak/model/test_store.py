"""The model's API server answers as the real one does: the same requests to both, and the answers compared."""

from typing import Any

from controllers.engine.base import ApiError
from controllers.engine.client import path_of
from crds.kinds import KINDS
from lab.controlplane import ControlPlane
from tests.engine.harness import Cluster
from tests.model.clock import Clock
from tests.model.store import Store

PLACE = path_of(KINDS["Region"])
ONE = f"{PLACE}/one"
READY = {"type": "Ready", "status": "True", "reason": "Ready", "lastTransitionTime": "2026-01-01T00:00:00Z"}
Body = dict[str, Any]

#: verb, path, body; "rv" in a body's metadata stands for the version of so many answers ago.
REQUESTS: tuple[tuple[str, str, Body], ...] = (
    ("GET", ONE, {}),
    (
        "POST",
        PLACE,
        {"metadata": {"name": "one"}, "spec": {"description": "a", "unknown": 1}, "status": {"state": "lost"}},
    ),
    ("POST", PLACE, {"metadata": {"name": "one"}, "spec": {}}),
    ("PATCH", ONE, {"spec": {"description": "b"}}),
    ("PATCH", ONE, {"spec": {"description": "b"}}),
    ("PATCH", ONE, {"spec": {"description": 7}}),
    ("PATCH", ONE, {"status": {"state": "not by this door"}}),
    ("PUT", f"{ONE}/status", {"metadata": {"rv": 1}, "status": {"state": "Ready", "conditions": [READY]}}),
    ("PUT", f"{ONE}/status", {"metadata": {"rv": 99}, "status": {"state": "too late"}}),
    ("PUT", f"{ONE}/status", {"metadata": {"rv": 1}, "status": {"conditions": [{**READY, "status": "Maybe"}]}}),
    ("PUT", f"{ONE}/status", {"metadata": {"rv": 1}, "status": {"conditions": [READY, READY]}}),
    ("PUT", f"{ONE}/status", {"metadata": {"rv": 1}, "status": {}}),
    ("PATCH", ONE, {"metadata": {"finalizers": ["stratiform.dev/finalizer"], "labels": {"a": "b"}}}),
    ("DELETE", ONE, {"preconditions": {"uid": "another"}}),
    ("DELETE", ONE, {}),
    ("DELETE", ONE, {}),
    ("PATCH", ONE, {"metadata": {"finalizers": ["stratiform.dev/finalizer", "example.com/late"]}}),
    ("PATCH", ONE, {"spec": {"description": "c"}}),
    ("PATCH", ONE, {"metadata": {"finalizers": []}}),
    ("GET", ONE, {}),
)


async def test_the_store_answers_as_the_api_server(wiped_plane: ControlPlane) -> None:
    api, store = Cluster(wiped_plane.kubeconfig), Store(Clock())
    await api.wipe()
    versions: tuple[list[str], list[str]] = (["none"], ["none"])
    for verb, path, body in REQUESTS:
        real = await _real(api, verb, path, _with_version(body, versions[0]), versions[0])
        ours = _ours(store, verb, path, _with_version(body, versions[1]), versions[1])
        assert ours == real, (verb, path, body)
    await api.close()


def _with_version(body: Body, versions: list[str]) -> Body:
    metadata = dict(body.get("metadata", {}))
    if "rv" in metadata:
        metadata = {"name": "one", "resourceVersion": versions[-1] if metadata["rv"] == 1 else versions[1]}
        return {"apiVersion": "stratiform.dev/v1alpha1", "kind": "Region", **body, "metadata": metadata}
    return body


async def _real(api: Cluster, verb: str, path: str, body: Body, versions: list[str]) -> object:
    head = {"apiVersion": "stratiform.dev/v1alpha1", "kind": "Region"} if verb == "POST" else {}
    try:
        match verb:
            case "GET":
                answer = await api.client.get(path, kind="Region")
            case "POST":
                answer = await api.client.post(path, {**head, **body}, kind="Region")
            case "PUT":
                answer = await api.client.put(path, body, kind="Region")
            case "PATCH":
                answer = await api.client.patch(path, body, kind="Region")
            case _:
                await api.client.delete(path, body, kind="Region")
                return "done"
    except ApiError as error:
        return error.status
    return _compared(answer, versions)


def _ours(store: Store, verb: str, path: str, body: Body, versions: list[str]) -> object:
    try:
        answer = store.request(verb, path, body)
    except ApiError as error:
        return error.status
    return "done" if verb == "DELETE" else _compared(answer, versions)


def _compared(answer: Body, versions: list[str]) -> object:
    metadata = answer["metadata"]
    changed = metadata["resourceVersion"] != versions[-1]
    versions.append(metadata["resourceVersion"])
    return (
        metadata["generation"], metadata.get("finalizers"), metadata.get("labels"), "deletionTimestamp" in metadata,
        answer.get("spec"), answer.get("status"), changed,
    )  # fmt: skip
