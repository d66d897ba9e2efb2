"""The real API server takes every CRD and every example, and finds nothing to change the second time."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from subprocess import CompletedProcess
from typing import Any

import pytest

from crds.kinds import KINDS
from tests.crds.manifests import EXAMPLES, Manifest, examples, good, text

pytestmark = pytest.mark.controlplane
Kubectl = Callable[..., CompletedProcess[str]]
FOLDERS = ("apply", "-f", str(EXAMPLES), "-f", str(EXAMPLES / "more"))


def _lines(answer: CompletedProcess[str]) -> list[str]:
    return answer.stdout.strip().splitlines()


@pytest.fixture(scope="module")
def applied(kubectl: Kubectl) -> None:
    kubectl(*FOLDERS)


def test_a_second_apply_of_the_crds_and_policies_changes_nothing(kubectl: Kubectl) -> None:
    manifests = subprocess.run([sys.executable, "-m", "crds"], capture_output=True, text=True, check=True).stdout
    kubectl("apply", "-f", "-", input=manifests)
    lines = _lines(kubectl("apply", "-f", "-", input=manifests))
    assert [line for line in lines if not line.endswith(" unchanged")] == []
    assert len(lines) >= len(KINDS) + 2


def test_the_examples_show_every_kind() -> None:
    assert {manifest["kind"] for manifest in examples()} >= set(KINDS)


def test_a_second_apply_of_the_examples_changes_nothing(kubectl: Kubectl, applied: None) -> None:
    lines = _lines(kubectl(*FOLDERS))
    assert [line for line in lines if not line.endswith(" unchanged")] == []
    assert len(lines) == len(examples())


def test_the_examples_show_no_diff(kubectl: Kubectl, applied: None) -> None:
    assert kubectl("diff", *FOLDERS[1:]).stdout == ""


def test_a_second_server_side_apply_of_the_examples_changes_nothing(kubectl: Kubectl, applied: None) -> None:
    server_side = (*FOLDERS, "--server-side", "--force-conflicts", "-o", "json")
    first, second = (json.loads(kubectl(*server_side).stdout)["items"] for _ in range(2))
    assert len(first) == len(examples())
    assert [item["metadata"]["resourceVersion"] for item in first] == [
        item["metadata"]["resourceVersion"] for item in second
    ]


def test_the_examples_are_accepted_in_reverse_order(kubectl: Kubectl, namespace: str) -> None:
    for manifest in reversed(examples()):
        if "namespace" in manifest["metadata"]:
            manifest["metadata"]["namespace"] = namespace
        if manifest["kind"] in KINDS:
            kubectl("apply", "--dry-run=server", "-f", "-", input=text(manifest))


def _fields(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str | None]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field.get("description")
        yield from _fields(field, f"{path}.{name}")
        yield from _fields(field.get("items", {}), f"{path}.{name}")


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.kind)
def test_kubectl_explain_tells_of_every_field(kubectl: Kubectl, kind: Any) -> None:
    document = json.loads(kubectl("get", "--raw", "/openapi/v3/apis/stratiform.dev/v1alpha1").stdout)
    schema = document["components"]["schemas"][f"dev.stratiform.v1alpha1.{kind.kind}"]
    fields = dict(_fields({"properties": {part: schema["properties"][part] for part in ("spec", "status")}}, ""))
    assert [path for path, description in fields.items() if not description] == []
    deepest = max(fields, key=lambda path: (path.startswith(".spec"), path.count(".")))
    told = kubectl("explain", f"{kind.plural}{deepest}").stdout
    assert " ".join(str(fields[deepest]).split()) in " ".join(told.split())
    tree = kubectl("explain", kind.plural, "--recursive").stdout
    assert {path.rsplit(".", 1)[1] for path in fields} <= {
        line.split()[0] for line in tree.splitlines() if line.strip()
    }


def test_a_new_object_is_not_healthy_yet(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "-f", "-", input=text(good("Instance", metadata__namespace=namespace)))
    made = json.loads(kubectl("get", "inst", "web-1", "-n", namespace, "-o", "json").stdout)
    assert [(c["type"], c["status"], c["reason"]) for c in made["status"]["conditions"]] == [
        ("Ready", "Unknown", "Pending")
    ]


def test_a_default_inside_an_object_is_there_when_the_object_is_not_given(kubectl: Kubectl, namespace: str) -> None:
    manifest: Manifest = good("HostCluster", metadata__name=f"c-{namespace}")
    for field in ("overcommit", "limits"):
        manifest["spec"].pop(field)
    made = json.loads(kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", input=text(manifest)).stdout)
    assert made["spec"]["overcommit"] == {"cpuPercent": 100, "memoryPercent": 100}
    assert made["spec"]["limits"] == {"cpuPercent": 85, "memoryPercent": 85}
    assert made["spec"]["cpu"] == {"mode": "Baseline"}
    assert made["spec"]["allowImports"] == {"type": "None"}


@pytest.mark.parametrize(
    ("short", "header"),
    [
        ("inst", "NAMESPACE NAME TYPE STATE HOST ADDRESS READY REASON AGE"),
        ("hst", "NAME CLUSTER STATE CPUS MEMORY INSTANCES READY REASON AGE"),
    ],
)
def test_get_prints_the_columns_of_the_guide(kubectl: Kubectl, applied: None, short: str, header: str) -> None:
    assert kubectl("get", short, "-A").stdout.splitlines()[0].split() == header.split()


def test_every_kind_is_found_by_its_short_name_and_in_the_category(kubectl: Kubectl) -> None:
    found = kubectl("api-resources", "--api-group=stratiform.dev", "--categories=stratiform", "--no-headers").stdout
    assert {line.split()[1]: line.split()[0] for line in found.splitlines()} == {
        kind.short: kind.plural for kind in KINDS.values()
    }
    assert kubectl("api-resources", "--api-group=stratiform.dev", "--categories=all", "--no-headers").stdout == ""
