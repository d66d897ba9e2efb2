"""Specs and statuses go from YAML to Python and back without loss."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crds.base import format_quantity, format_time, parse_quantity, shorten_quantity, yaml_name
from crds.bounds import within
from crds.host import HostStatus
from crds.instance import InstanceSpec
from crds.instancestatus import InstanceStatus
from crds.kinds import KINDS
from tests.crds.manifests import Manifest, examples


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        (4096, 4096),
        ("512Mi", 512 * 2**20),
        ("1.5Gi", 3 * 2**29),
        ("500M", 500_000_000),
        ("2k", 2000),
        ("0.5k", 500),
        ("7Ei", 7 * 2**60),
    ],
)
def test_a_quantity_is_so_many_bytes(text: str | int, amount: int) -> None:
    assert parse_quantity(text) == amount


@pytest.mark.parametrize("text", ["", "1GB", "-1Gi", "1e3", "100m", "1 Gi", "0.3", "0.1Ki", "Gi", "1.Gi", ".5Gi"])
def test_what_is_no_quantity_of_whole_bytes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_quantity(text)


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_every_amount_comes_back_from_its_canonical_string(amount: int) -> None:
    text = format_quantity(amount)
    assert parse_quantity(text) == amount
    assert len(text) <= 20


def test_canonical_strings_use_the_largest_binary_unit_that_divides() -> None:
    assert [format_quantity(n) for n in (0, 1000, 1024, 3 * 2**29, 10 * 2**40)] == [
        "0",
        "1000",
        "1Ki",
        "1536Mi",
        "10Ti",
    ]


def test_amounts_for_people_have_one_decimal() -> None:
    assert [shorten_quantity(n) for n in (0, 1000, 3 * 2**29, 64 * 2**30, 2**30 + 1)] == [
        "0",
        "1000",
        "1.5Gi",
        "64Gi",
        "1Gi",
    ]


def test_times_are_written_in_utc_and_milliseconds_only_where_there_are_some() -> None:
    moment = datetime(2026, 11, 23, 12, 0, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(moment) == "2026-11-23T10:00:00Z"
    assert format_time(moment.replace(microsecond=250_000, tzinfo=UTC)) == "2026-11-23T12:00:00.250Z"


def test_names_are_spelled_as_in_the_api() -> None:
    spelled = {
        "host_cluster_ref": "hostClusterRef",
        "platform_id": "platformID",
        "read_iops": "readIOPS",
        "host_uuid": "hostUUID",
        "uuid": "uuid",
        "xen_sr": "xenSR",
        "vsphere": "vSphere",
        "vsphere_datastore": "vSphereDatastore",
        "bridge_per_vlan": "bridgePerVLAN",
        "open_vswitch": "openVSwitch",
        "vlan": "vlan",
    }
    assert {name: yaml_name(name) for name in spelled} == spelled


def _covers(made: Any, given: Any) -> bool:
    """Whether all that was given is in what was made."""
    if isinstance(given, dict):
        return all(key in made and _covers(made[key], value) for key, value in given.items())
    if isinstance(given, list):
        return len(made) == len(given) and all(_covers(m, g) for m, g in zip(made, given, strict=True))
    return bool(made == given)


@pytest.mark.parametrize(
    "manifest",
    [manifest for manifest in examples() if manifest["kind"] in KINDS],
    ids=lambda manifest: f"{manifest['kind']} {manifest['metadata']['name']}",
)
def test_an_example_comes_back_as_it_was(manifest: Manifest) -> None:
    spec = KINDS[manifest["kind"]].spec.model_validate(manifest["spec"])
    assert _covers(spec.to_yaml(), manifest["spec"])
    assert KINDS[manifest["kind"]].spec.model_validate(spec.to_yaml()) == spec


def test_unknown_fields_of_a_newer_version_are_ignored() -> None:
    spec = InstanceSpec.model_validate({"zoneRef": {"name": "z", "weight": 3}, "hologram": True})
    assert spec.zone_ref.name == "z"


def test_an_instance_without_the_blocks_it_need_not_have_has_their_defaults() -> None:
    spec = InstanceSpec.model_validate({"zoneRef": {"name": "z"}, "resources": {"cpus": 1, "memory": "1Gi"}})
    assert spec.run_strategy == "Always"
    assert spec.shutdown.grace_period_seconds == 60
    assert spec.volumes == ()


def test_m4_a_status_comes_back_from_what_was_written() -> None:  # M4
    status = InstanceStatus.model_validate(
        {
            "observedGeneration": 3,
            "uuid": "0b6c1d3e-1111-4222-8333-944455556666",
            "placement": {
                "host": "node-1",
                "sequence": 1_790_000_000,
                "decidedAt": "2026-11-23T10:00:00Z",
                "explanation": {"winner": "node-1", "summary": "3 of 3 hosts fit.", "candidates": 3},
            },
            "hardware": {"machine": "pc-q35-7.2", "firmware": "BIOS", "limits": {"cpus": 1, "memory": "512Mi"}},
            "networks": [{"name": "lan", "macAddress": "02:00:00:00:00:01", "addresses": ["10.91.0.60"]}],
            "volumes": [{"name": "root", "type": "Managed", "volumeRef": {"name": "web-1-root"}, "slot": 1}],
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "Running",
                    "message": "",
                    "lastTransitionTime": "2026-11-23T10:00:00Z",
                }
            ],
        }
    )
    assert status.hardware is not None
    assert status.hardware.limits is not None
    assert status.hardware.limits.memory == 512 * 2**20
    ready = status.condition("Ready")
    assert ready is not None
    assert ready.reason == "Running"
    assert InstanceStatus.model_validate(status.to_yaml()) == status


def test_a_status_is_cut_to_the_bounds_of_its_schema_when_it_is_written() -> None:
    long = "x" * 5000
    orphan = {"kind": "Instance", "namespace": "a", "name": "b"}
    status = HostStatus.model_validate(
        {
            "unreachableSince": "2026-11-23T10:00:00Z",
            "orphans": [{"uuid": f"0b6c1d3e-1111-4222-8333-{n:012}", **orphan} for n in range(40)],
            "foreign": {"instances": 1, "names": [long]},
            "conditions": [
                {
                    "type": "Ready",
                    "status": "False",
                    "reason": "Lost",
                    "message": long,
                    "lastTransitionTime": "2026-11-23T10:00:00Z",
                }
            ],
        }
    )
    written = within(type(status), status.to_yaml())
    assert len(written["orphans"]) == 32
    assert written["foreign"]["names"] == ["x" * 252 + "…"]
    assert written["conditions"][0]["message"] == "x" * 4095 + "…"
    assert written["unreachableSince"] == "2026-11-23T10:00:00Z"
