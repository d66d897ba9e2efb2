"""The API server refuses what makes no sense, and says so in words that help."""

from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from tests.crds.manifests import Manifest, examples, good, text
from tests.crds.refusal import Refusal
from tests.crds.refusals_of_hardware import STORAGE, TOPOLOGY
from tests.crds.refusals_of_tenants import INSTANCE, NETWORK

REFUSALS = [*TOPOLOGY, *STORAGE, *NETWORK, *INSTANCE]

pytestmark = pytest.mark.controlplane
Kubectl = Callable[..., CompletedProcess[str]]
CLUSTER_SCOPED = {manifest["kind"] for manifest in examples() if "namespace" not in manifest["metadata"]}


def _in(namespace: str, manifest: Manifest) -> Manifest:
    if manifest["kind"] not in CLUSTER_SCOPED:
        manifest["metadata"]["namespace"] = namespace
    return manifest


@pytest.mark.parametrize(
    "case", [case for case in REFUSALS if case.before is None], ids=lambda case: f"of {case.sentence}"
)
def test_refusal(case: Refusal, kubectl: Kubectl) -> None:
    manifest = _in("default", good(case.kind, **case.changes))
    answer = kubectl("create", "--dry-run=server", "-f", "-", input=text(manifest), check=False)
    assert answer.returncode != 0, answer.stdout
    assert case.message in answer.stderr


@pytest.mark.parametrize(
    "case", [case for case in REFUSALS if case.before is not None], ids=lambda case: f"to {case.sentence}"
)
def test_refusal_of_a_change(case: Refusal, kubectl: Kubectl, namespace: str) -> None:
    before = _in(namespace, good(case.kind, **(case.before or {})))
    if case.kind in CLUSTER_SCOPED:
        before["metadata"]["name"] += f"-{namespace}"
    kubectl("create", "-f", "-", input=text(before))
    after = _in(namespace, good(case.kind, **(case.before or {}), **case.changes))
    after["metadata"]["name"] = before["metadata"]["name"]
    answer = kubectl("replace", "--dry-run=server", "-f", "-", input=text(after), check=False)
    assert answer.returncode != 0, answer.stdout
    assert case.message in answer.stderr


def test_the_table_is_long_and_no_sentence_stands_twice() -> None:
    assert len(REFUSALS) >= 60
    assert len({case.sentence for case in REFUSALS}) == len(REFUSALS)


def _set_status(kubectl: Kubectl, namespace: str, resource: str, status: str) -> None:
    kubectl("patch", resource, "-n", namespace, "--subresource=status", "--type=merge", "-p", f'{{"status":{status}}}')


def test_a_host_changes_its_cluster_only_while_it_is_empty(kubectl: Kubectl, namespace: str) -> None:
    host = f"host/node-{namespace}"
    kubectl("create", "-f", "-", input=text(good("Host", metadata__name=f"node-{namespace}")))
    move = ("patch", host, "--type=merge", "-p", '{"spec":{"hostClusterRef":{"name":"kvm-2"}}}', "--dry-run=server")
    kubectl(*move)
    _set_status(kubectl, namespace, host, '{"instances":1}')
    answer = kubectl(*move, check=False)
    assert "spec.hostClusterRef" in answer.stderr
    assert "only while the host is empty: set maintenance: true and wait" in answer.stderr


def test_a_volume_becomes_shareable_only_while_nobody_has_it(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "-f", "-", input=text(good("Volume", metadata__namespace=namespace)))
    share = ("patch", "vol/web-data", "-n", namespace, "--type=merge", "-p", '{"spec":{"shareable":true}}')
    _set_status(
        kubectl,
        namespace,
        "vol/web-data",
        '{"attachments":[{"instance":"web-1","uid":"0b6c1d3e-1111-4222-8333-944455556666","hosts":[]}]}',
    )
    answer = kubectl(*share, check=False)
    assert "may be changed only while no instance has the volume" in answer.stderr
    _set_status(kubectl, namespace, "vol/web-data", '{"attachments":[]}')
    kubectl(*share)


def test_an_unknown_field_is_warned_of_or_pruned_where_the_client_asks_for_it(kubectl: Kubectl, namespace: str) -> None:
    manifest = text(good("Network", metadata__namespace=namespace, spec__dhcp=True))
    warned = kubectl("create", "--validate=warn", "--dry-run=server", "-f", "-", input=manifest)
    assert 'unknown field "spec.dhcp"' in warned.stderr
    made = kubectl("create", "--validate=ignore", "-o", "jsonpath={.spec}", "-f", "-", input=manifest)
    assert "dhcp" not in made.stdout


CHANGES = [
    ("Volume", {"spec__size": "1.5Gi"}),
    ("Volume", {"spec__deletionPolicy": "Delete"}),
    ("StoragePool", {"spec__nfs__server": "10.90.0.9"}),
    ("Host", {"spec__connection__libvirt__uri": "qemu+tls://10.90.0.99/system"}),
    ("HostCluster", {"spec__uplinks__0__bridge__name": "br-other"}),
    ("Zone", {"spec__physicalNetworks": []}),
    ("Network", {"spec__ipam__subnets__0__ranges__0__start": "10.91.0.40"}),
    ("Template", {"spec__visibility": {"type": "All"}}),
    ("Instance", {"spec__volumes": [], "spec__networks": []}),
    ("Instance", {"spec__volumes__0__managed__size": "1Gi", "spec__runStrategy": "Halted"}),
    ("Instance", {"spec__volumes__0__name": "other"}),
    ("InstanceType", {"metadata__labels": {"a": "b"}}),
]


@pytest.mark.parametrize(("kind", "changes"), CHANGES, ids=str)
def test_what_may_change_changes(kind: str, changes: dict[str, object], kubectl: Kubectl, namespace: str) -> None:
    name = f"x-{namespace}"
    before = _in(namespace, good(kind, metadata__name=name))
    kubectl("create", "-f", "-", input=text(before))
    kubectl(
        "replace",
        "--dry-run=server",
        "-f",
        "-",
        input=text(_in(namespace, good(kind, metadata__name=name, **changes))),
    )
