"""The API as a person sees it, with waits and builders: what every test that runs against an operator uses."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from lab.kubectl import Kubectl

DEADLINE = 60.0


def until(
    what: Callable[[], Any], deadline: float = DEADLINE, *, every: float = 0.1, why: Callable[[], object] = str
) -> Any:
    """The first truthy answer of `what`. Fails with `why()` when none comes in time. The one way in which tests wait."""
    end = time.monotonic() + deadline
    while True:
        answer = what()
        if answer:
            return answer
        if time.monotonic() > end:
            pytest.fail(f"not within {deadline:.0f} s: {getattr(what, '__doc__', None) or what}: {why()}")
        time.sleep(every)


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
        """The object, or None."""
        place = ("-n", self.namespace if namespace is None else namespace)
        answer = self.kubectl.attempt("get", kind, name, *place, "-o", "json", "--ignore-not-found")
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
