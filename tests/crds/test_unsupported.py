"""The table of what is not honoured yet names what the schema really has, and finds it in objects."""

from typing import Any

import pytest

from crds.kinds import KINDS
from crds.schema import root_schema
from crds.unsupported import TABLE, Entry, unsupported
from crds.volume import VolumeStatus
from tests.crds.manifests import GONE, examples, good


def _schema_of(entry: Entry) -> dict[str, Any]:
    schema = root_schema(KINDS[entry.kind])
    for part in entry.yaml_path.split("."):
        schema = schema["properties"][part.removesuffix("[]")]
        if part.endswith("[]"):
            schema = schema["items"]
    return schema


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: f"{entry.kind} {entry.yaml_path}")
def test_every_entry_names_a_field_and_values_of_the_schema(entry: Entry) -> None:
    schema = _schema_of(entry)
    if "enum" in schema:
        assert entry.values <= set(schema["enum"])
        assert entry.values != set(schema["enum"])
    assert "not supported yet" in entry.message


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: f"{entry.kind} {entry.yaml_path}")
def test_no_default_is_unsupported(entry: Entry) -> None:
    default = _schema_of(entry).get("default")
    assert default is None or (default not in entry.values if entry.values else not default)


def _found(kind: str, **changes: Any) -> list[str]:
    spec = KINDS[kind].spec.model_validate(good(kind, **changes)["spec"])
    return [str(finding) for finding in unsupported(kind, spec)]


def test_the_examples_ask_for_nothing_unsupported_but_the_snapshot() -> None:
    found = {
        manifest["kind"]
        for manifest in examples()
        if manifest["kind"] in KINDS
        and unsupported(manifest["kind"], KINDS[manifest["kind"]].spec.model_validate(manifest["spec"]))
    }
    assert found == {"Snapshot"}


@pytest.mark.parametrize(
    ("kind", "changes", "path"),
    [
        ("HostCluster", {"spec__hypervisor": "Xen"}, "spec.hypervisor: "),
        (
            "HostCluster",
            {"spec__uplinks__0": {"name": "lan", "type": "OpenVSwitch", "openVSwitch": {"bridge": "br0"}}},
            "spec.uplinks[lan].type: ",
        ),
        ("Host", {"spec__connection__type": "Xen"}, "spec.connection.type: "),
        ("StoragePool", {"spec__type": "RBD", "spec__nfs": GONE}, "spec.type: "),
        ("Instance", {"spec__firmware": {"type": "UEFI", "secureBoot": True}}, "spec.firmware.secureBoot: "),
        ("Snapshot", {}, "spec: snapshots are not supported yet"),
    ],
    ids=str,
)
def test_a_finding_names_the_field_as_a_person_wrote_it(kind: str, changes: dict[str, Any], path: str) -> None:
    assert [finding for finding in _found(kind, **changes) if finding.startswith(path)]


def test_a_volume_that_lies_elsewhere_than_it_shall_is_told_that_moving_is_not_supported() -> None:
    volume = KINDS["Volume"]
    spec = volume.spec.model_validate(good("Volume", spec__storagePoolRef={"name": "nfs-2"})["spec"])
    here = VolumeStatus.model_validate({"disk": {"pool": "nfs-2", "n": 1}})
    there = VolumeStatus.model_validate({"disk": {"pool": "nfs-1", "n": 1}})
    assert unsupported("Volume", spec, here) == []
    assert [finding.path for finding in unsupported("Volume", spec, there)] == ["spec.storagePoolRef"]
