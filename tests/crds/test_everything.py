"""Every field of every kind is accepted by the real API server as people write it, and kept as it was written."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from crds.base import API_VERSION
from crds.kinds import KINDS
from tests.crds.test_invariants import fields

pytestmark = pytest.mark.controlplane
Kubectl = Callable[..., CompletedProcess[str]]
NAMESPACE = "everything"
MANIFESTS: list[dict[str, Any]] = [
    {"apiVersion": API_VERSION, **document}
    for document in yaml.safe_load_all(Path(__file__).with_name("everything.yaml").read_text())
]


def _paths(value: Any, path: str) -> set[str]:
    if isinstance(value, dict):
        return {f"{path}.{key}" for key in value}.union(*(_paths(item, f"{path}.{key}") for key, item in value.items()))
    if isinstance(value, list):
        return set().union(*(_paths(item, f"{path}[]") for item in value))
    return set()


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.kind)
def test_every_field_of_the_spec_is_tried(kind: Any) -> None:
    tried = set().union(*(_paths(m["spec"], "spec") for m in MANIFESTS if m["kind"] == kind.kind))
    named = {field.path for field in fields(kind) if field.in_spec and not field.path.endswith(("[]", "{}"))}
    assert named - tried == set()


@pytest.fixture(scope="module")
def stream(kubectl: Kubectl) -> str:
    kubectl("create", "namespace", NAMESPACE)
    return "\n---\n".join(json.dumps(manifest) for manifest in MANIFESTS)


def test_a_second_apply_of_every_field_changes_nothing(kubectl: Kubectl, stream: str) -> None:
    kubectl("apply", "-f", "-", input=stream)
    lines = kubectl("apply", "-f", "-", input=stream).stdout.strip().splitlines()
    assert [line for line in lines if not line.endswith(" unchanged")] == []
    assert len(lines) == len(MANIFESTS)


def test_a_second_server_side_apply_of_every_field_changes_nothing(kubectl: Kubectl, stream: str) -> None:
    apply = ("apply", "--server-side", "--force-conflicts", "-o", "json", "-f", "-")
    first, second = (json.loads(kubectl(*apply, input=stream).stdout)["items"] for _ in range(2))
    assert [item["metadata"]["resourceVersion"] for item in first] == [
        item["metadata"]["resourceVersion"] for item in second
    ]


def test_what_the_server_keeps_is_what_the_models_read(kubectl: Kubectl, stream: str) -> None:
    kubectl("apply", "-f", "-", input=stream)
    kept = json.loads(kubectl("get", "-f", "-", "-o", "json", input=stream).stdout)["items"]
    for manifest, item in zip(MANIFESTS, kept, strict=True):
        spec = KINDS[manifest["kind"]].spec
        assert spec.model_validate(item["spec"]) == spec.model_validate(manifest["spec"]), item["metadata"]["name"]
