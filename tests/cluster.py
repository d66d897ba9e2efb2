"""The API as a person sees it, with waits and builders: what every test that runs against an operator uses."""

import base64
import http.client
import json
import ssl
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from crds.base import API_VERSION, Kind
from crds.kinds import KINDS
from lab.kubectl import Kubectl

DEADLINE = 60.0


def until(
    what: Callable[[], Any], deadline: float = DEADLINE, *, every: float = 0.1, why: Callable[[], object] = str
) -> Any:
    """The first truthy answer of `what`. Fails with `why()` when none comes in time. The one way in which tests wait."""
    end = time.monotonic() + deadline
    while True:
        try:
            answer = what()
        except OSError:
            answer = None
        if answer:
            return answer
        if time.monotonic() > end:
            pytest.fail(f"not within {deadline:.0f} s: {getattr(what, '__doc__', None) or what}: {why()}")
        time.sleep(every)


class Reader:
    """Reads objects of our kinds without starting kubectl: a look costs 2 ms instead of 80, and tests look often."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._server = urlsplit(cluster["server"])
        with tempfile.TemporaryDirectory() as folder:
            paths = {}
            for name, value in {**cluster, **user}.items():
                if name.endswith("-data"):
                    paths[name.removesuffix("-data")] = path = Path(folder, name)
                    path.write_bytes(base64.b64decode(value))
                elif name in ("certificate-authority", "client-certificate", "client-key"):
                    paths[name] = Path(value)
            self._context = ssl.create_default_context(cafile=str(paths["certificate-authority"]))
            self._context.load_cert_chain(paths["client-certificate"], paths["client-key"])
        self._connection: http.client.HTTPSConnection | None = None

    def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
        """None when it is not there. Raises OSError while the API server does not answer."""
        place = f"namespaces/{namespace}/" if kind.namespaced else ""
        status, body = self._request(f"/apis/{API_VERSION}/{place}{kind.plural}/{name}")
        if status == 404:
            return None
        assert status == 200, body[:500]
        return dict(json.loads(body))

    def _request(self, path: str) -> tuple[int, bytes]:
        if self._connection is None:
            assert self._server.hostname
            self._connection = http.client.HTTPSConnection(
                self._server.hostname, self._server.port, timeout=20, context=self._context
            )
        try:
            self._connection.request("GET", path)
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self._connection = None
            raise OSError(f"GET {path}: {error!r}") from error


@cache
def reader(kubeconfig: Path) -> Reader:
    return Reader(kubeconfig)


OUR_KINDS = {
    word: kind
    for kind in KINDS.values()
    for word in (kind.kind, kind.kind.lower(), kind.plural, kind.singular, kind.short)
}


@dataclass(frozen=True)
class Cluster:
    """The API as a person sees it, with waits."""

    kubectl: Kubectl
    suffix: str
    namespace: str

    def apply(self, *manifests: dict[str, Any] | str) -> str:
        """kubectl apply, as one stream."""
        text = "\n---\n".join(m if isinstance(m, str) else yaml.safe_dump(m) for m in manifests)
        return self.kubectl.run("apply", "-f", "-", text=text)

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """The object, or None. OSError while the API server is away, which `until` takes for "not yet"."""
        if kind in OUR_KINDS:
            place = self.namespace if namespace is None else namespace
            return reader(self.kubectl.kubeconfig).get(OUR_KINDS[kind], place, name)
        where = ("-n", self.namespace if namespace is None else namespace)
        answer = self.kubectl.attempt("get", kind, name, *where, "-o", "json", "--ignore-not-found")
        return json.loads(answer.stdout) if answer.stdout.strip() else None

    def patch(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        """Merge into its spec."""
        self.kubectl.run("patch", kind, name, "-n", self.namespace, "--type=merge", "-p", json.dumps({"spec": spec}))

    def annotate(self, kind: str, name: str, *annotations: str) -> None:
        self.kubectl.run("annotate", kind, name, "-n", self.namespace, "--overwrite", *annotations)

    def delete(self, kind: str, name: str) -> None:
        """Ask for it; does not wait."""
        self.kubectl.run("delete", kind, name, "-n", self.namespace, "--wait=false")

    def remove(self, *objects: str) -> None:
        """Delete `kind/name`s that are there, and wait until they are gone. How tests clean up."""
        self.kubectl.run("delete", *objects, "-n", self.namespace, "--ignore-not-found", "--timeout=90s")

    def condition(self, kind: str, name: str, type_: str) -> dict[str, Any]:
        """{} while it is not there."""
        obj = self.get(kind, name) or {}
        found = [c for c in obj.get("status", {}).get("conditions", ()) if c["type"] == type_]
        return found[0] if found else {}

    def await_condition(
        self, kind: str, name: str, type_: str = "Ready", *, status: str = "True", reason: str | None = None,
        deadline: float = DEADLINE,
    ) -> dict[str, Any]:  # fmt: skip
        """Wait until the condition is so, for the present generation; the condition."""

        def holds() -> dict[str, Any] | None:
            obj = self.get(kind, name) or {}
            for found in obj.get("status", {}).get("conditions", ()):
                fresh = found.get("observedGeneration", 0) >= obj["metadata"]["generation"]
                same = found["type"] == type_ and found["status"] == status and reason in (None, found["reason"])
                if fresh and same:
                    return dict(found)
            return None

        return dict(until(holds, deadline, why=lambda: self.story(kind, name)))

    def await_gone(self, kind: str, name: str, deadline: float = DEADLINE) -> None:
        until(lambda: self.get(kind, name) is None, deadline, why=lambda: self.story(kind, name))

    def story(self, kind: str, name: str) -> str:
        """What `kubectl describe` tells of it, for failures."""
        return self.kubectl.attempt("describe", kind, name, "-n", self.namespace).stdout[-4000:]


def manifest(
    kind: str, name: str, spec: dict[str, Any] | None = None, namespace: str = "", **metadata: Any
) -> dict[str, Any]:
    """An object of one of our kinds."""
    place = {"namespace": namespace} if namespace else {}
    return {
        "apiVersion": "stratiform.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, **place, **metadata},
        "spec": spec or {},
    }
