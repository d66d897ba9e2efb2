"""The mark as text (safety.md M1 to M3): it comes back whole, or it is somebody else's, or it is held as unreadable."""

import json
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.marks import MAX_BYTES, DiskMark, DiskState, InstanceMark, Unreadable, decode, encode
from tests.drivers.builders import disk_definition, instance_mark

words = st.text(max_size=40)
instances = st.builds(
    InstanceMark,
    installation=words,
    namespace=words,
    name=words,
    uid=words,
    uuid=words,
    sequence=st.integers(0, 1 << 40),
    hardware=words,
    volumes=st.lists(st.tuples(words, words, words), max_size=3).map(tuple),
    addresses=st.lists(st.tuples(words, words, st.lists(words, max_size=2).map(tuple)), max_size=3).map(tuple),
    run_count=st.integers(0, 1 << 40),
    starting=st.none() | st.integers(0, 1 << 40),
    last_restart=words,
    last_power_request=words,
    imported=st.booleans(),
    started=st.lists(st.tuples(words, words), max_size=3).map(tuple),
)
disks = st.builds(
    DiskMark,
    installation=words,
    kind=st.sampled_from(["Volume", "Template"]),
    namespace=words,
    name=words,
    uid=words,
    uuid=words,
    n=st.integers(1, 1000),
    state=st.sampled_from(DiskState),
    size=st.integers(0, 1 << 60),
    base=words,
    made_by=words,
    owner=st.none() | instances,
)


@given(instances | disks)
def test_m1_a_mark_comes_back_as_it_was(mark: InstanceMark | DiskMark) -> None:
    assert decode(encode(mark)) == mark


@given(instances | disks)
def test_m2_the_padding_of_the_file_is_no_part_of_it(mark: InstanceMark | DiskMark) -> None:
    assert decode(encode(mark) + "\0" * 100) == mark


def test_m2_a_mark_with_its_instances_fits_its_file() -> None:
    owner = replace(
        instance_mark("n" * 40),
        namespace="n" * 63,
        volumes=tuple((f"volume-number-{i:02}", "0" * 36, "0" * 38) for i in range(4)),
        addresses=tuple((f"network-number-{i}", "02:00:00:00:00:00", ("10.91.0.60", "fd00::60")) for i in range(4)),
    )
    mark = replace(disk_definition().mark, owner=owner)
    assert len(encode(mark).encode()) <= MAX_BYTES


@pytest.mark.parametrize("mark", [instance_mark(), disk_definition().mark], ids=["instance", "disk"])
@pytest.mark.parametrize("kept", [1, 20, 100, 200])
def test_m2_a_torn_mark_is_unreadable_never_absent(mark: InstanceMark | DiskMark, kept: int) -> None:
    with pytest.raises(Unreadable):
        decode(encode(mark)[:kept])


def changed(original: DiskMark, **fields: Any) -> str:
    outer = json.loads(encode(original))
    return json.dumps(outer | fields)


def test_m2_a_damaged_mark_is_unreadable() -> None:
    mark = disk_definition().mark
    body = json.loads(json.dumps(asdict(mark)))
    with pytest.raises(Unreadable):
        decode(changed(mark, mark=body | {"state": "creating", "n": 2}))


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "17", "not json", '{"stratiform": 1}'])
def test_what_is_no_mark_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        decode(text)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_m3_a_mark_of_an_unknown_version_is_somebody_elses(version: object) -> None:
    assert decode(changed(disk_definition().mark, stratiform=version)) is None


def test_a_field_that_a_later_version_adds_is_kept_out_and_checked_all_the_same() -> None:
    mark = disk_definition().mark
    body = json.loads(encode(mark))["mark"] | {"later": "field"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    assert decode(changed(mark, mark=body, sha256=sha256(text.encode()).hexdigest())) == mark
