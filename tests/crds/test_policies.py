"""What a schema cannot refuse, the admission policies do."""

import json
from collections.abc import Callable
from subprocess import CompletedProcess
from typing import Any

import pytest

from crds.base import ADOPT, ALLOW_DELETION, IGNORE_ORPHAN, PROTECTED
from tests.crds.manifests import good, text

pytestmark = pytest.mark.controlplane
Kubectl = Callable[..., CompletedProcess[str]]
UUID = "0b6c1d3e-1111-4222-8333-944455556666"
PIN = {"placement": {"hostRef": {"name": "node-1"}}}


def _make(kubectl: Kubectl, namespace: str, **changes: Any) -> None:
    kubectl("create", "-f", "-", input=text(good("Instance", metadata__namespace=namespace, **changes)))


def _patch(kubectl: Kubectl, namespace: str, patch: Any, *more: str) -> CompletedProcess[str]:
    return kubectl("patch", "inst/web-1", "-n", namespace, "--type=merge", "-p", json.dumps(patch), *more, check=False)


@pytest.fixture
def tenant(kubectl: Kubectl, namespace: str) -> tuple[str, ...]:
    """kubectl's arguments to act as somebody who may edit instances and volumes, and nothing more."""
    rules = [{"apiGroups": ["stratiform.dev"], "resources": ["*"], "verbs": ["get", "create", "patch", "update"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": rules}
    kubectl("create", "-f", "-", input=json.dumps({**role, "metadata": {"name": "editor", "namespace": namespace}}))
    kubectl("create", "rolebinding", "editor", "-n", namespace, "--role=editor", "--user=alice")
    return ("--as=alice",)


def test_a_protected_instance_is_not_deleted_until_the_field_is_cleared(kubectl: Kubectl, namespace: str) -> None:
    _make(kubectl, namespace, spec__deletionProtection=True)
    answer = kubectl("delete", "inst/web-1", "-n", namespace, check=False)
    assert f"Instance {namespace}/web-1 is protected: set spec.deletionProtection to false" in answer.stderr
    answer = kubectl("delete", "inst", "--all", "-n", namespace, check=False)
    assert "is protected" in answer.stderr
    _patch(kubectl, namespace, {"spec": {"deletionProtection": False}})
    kubectl("delete", "inst/web-1", "-n", namespace)


def test_a_namespace_with_a_protected_instance_is_not_deleted(kubectl: Kubectl, namespace: str) -> None:
    kubectl("label", "namespace", namespace, f"{PROTECTED}=true")
    answer = kubectl("delete", "namespace", namespace, check=False)
    assert "holds instances with spec.deletionProtection: true" in answer.stderr
    kubectl("label", "namespace", namespace, f"{PROTECTED}-")
    kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.mark.parametrize("value", ["true", "orphan"])
def test_n4_a_crd_is_deleted_only_when_annotated(kubectl: Kubectl, value: str) -> None:  # N4
    crd = "crd/regions.stratiform.dev"
    answer = kubectl("delete", crd, "--dry-run=server", check=False)
    assert ALLOW_DELETION in answer.stderr
    kubectl("annotate", crd, f"{ALLOW_DELETION}={value}", "--overwrite")
    kubectl("delete", crd, "--dry-run=server")
    kubectl("annotate", crd, f"{ALLOW_DELETION}-")


def test_a_crd_of_somebody_else_is_none_of_our_business(kubectl: Kubectl, suffix: str) -> None:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    group = f"{suffix}.example"
    names = {"kind": "Thing", "plural": "things", "singular": "thing", "listKind": "ThingList"}
    spec = {"group": group, "names": names, "scope": "Cluster", "versions": [version]}
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": spec}
    kubectl("create", "-f", "-", input=json.dumps({**crd, "metadata": {"name": f"things.{group}"}}))
    kubectl("delete", "crd", f"things.{group}")


def test_pinning_needs_the_verb_pin(kubectl: Kubectl, namespace: str, tenant: tuple[str, ...]) -> None:
    pinned = text(good("Instance", metadata__namespace=namespace, spec__placement=PIN["placement"]))
    answer = kubectl("create", "-f", "-", *tenant, input=pinned, check=False)
    assert "only by who has the verb pin on instances" in answer.stderr
    _make(kubectl, namespace)
    answer = _patch(kubectl, namespace, {"spec": PIN}, *tenant)
    assert "the verb pin" in answer.stderr


def test_who_may_not_pin_may_change_the_rest_of_a_pinned_instance(
    kubectl: Kubectl, namespace: str, tenant: tuple[str, ...]
) -> None:
    _make(kubectl, namespace)
    assert _patch(kubectl, namespace, {"spec": PIN}).returncode == 0
    assert _patch(kubectl, namespace, {"spec": {"runStrategy": "Halted"}}, *tenant).returncode == 0
    answer = _patch(kubectl, namespace, {"spec": {"placement": {"ignoreAllocationState": True}}}, *tenant)
    assert "the verb pin" in answer.stderr
    assert "the verb pin" in _patch(kubectl, namespace, {"spec": {"placement": None}}, *tenant).stderr


def test_who_has_the_verb_pins(kubectl: Kubectl, namespace: str, tenant: tuple[str, ...]) -> None:
    _make(kubectl, namespace)
    rules = [{"apiGroups": ["stratiform.dev"], "resources": ["instances"], "verbs": ["pin"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": rules}
    kubectl("create", "-f", "-", input=json.dumps({**role, "metadata": {"name": "pin", "namespace": namespace}}))
    kubectl("create", "rolebinding", "pin", "-n", namespace, "--role=pin", "--user=alice")
    assert _patch(kubectl, namespace, {"spec": PIN}, *tenant).stderr == ""


def test_n2_an_orphan_of_another_name_is_adopted_only_by_who_has_the_verb(
    kubectl: Kubectl, namespace: str, tenant: tuple[str, ...]
) -> None:  # N2
    _make(kubectl, namespace)

    def annotate(key: str, value: str, *more: str) -> CompletedProcess[str]:
        return _patch(kubectl, namespace, {"metadata": {"annotations": {key: value}}}, *more)

    assert annotate(ADOPT, UUID, *tenant).returncode == 0
    assert "the verb adopt" in annotate(ADOPT, f"team-b/db-1/{UUID}", *tenant).stderr
    assert "the verb adopt" in annotate(IGNORE_ORPHAN, UUID, *tenant).stderr
    assert annotate(IGNORE_ORPHAN, UUID).returncode == 0
    assert annotate("example.com/other", "x", *tenant).returncode == 0


def test_the_operator_may_change_nothing_of_a_namespace_but_its_label(kubectl: Kubectl, namespace: str) -> None:
    rules = [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "patch"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": rules}
    kubectl("create", "-f", "-", input=json.dumps({**role, "metadata": {"name": f"label-{namespace}"}}))
    operator = "system:serviceaccount:stratiform-system:stratiform"
    kubectl("create", "clusterrolebinding", namespace, f"--clusterrole=label-{namespace}", f"--user={operator}")
    as_operator = (f"--as={operator}", "--as-group=system:serviceaccounts:stratiform-system")
    kubectl("label", "namespace", namespace, f"{PROTECTED}=true", *as_operator)
    kubectl("label", "namespace", namespace, f"{PROTECTED}-", *as_operator)
    answer = kubectl(
        "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=baseline", *as_operator, check=False
    )
    assert f"nothing of a namespace but the label {PROTECTED}" in answer.stderr
    answer = kubectl("annotate", "namespace", namespace, "a=b", *as_operator, check=False)
    assert "nothing of a namespace but the label" in answer.stderr
