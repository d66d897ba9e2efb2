"""What holds of every field of every kind: bounds, descriptions, marks, defaults, rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from crds.base import Kind
from crds.fields import RULES
from crds.kinds import KINDS
from crds.schema import root_schema

MARKS = (
    "Cannot be changed.",
    "May be changed at any time.",
    "A change waits for the next restart.",
    "May be changed only while it is empty.",
    "The entry's key: another name is another entry.",
)


@dataclass(frozen=True)
class Field:
    """One node of a schema and how it is enclosed."""

    path: str
    schema: dict[str, Any]
    required: bool = True
    in_list: bool = False

    @property
    def name(self) -> str:
        return self.path.rsplit(".", 1)[1]

    @property
    def in_spec(self) -> bool:
        return self.path.startswith("spec.")


def _below(schema: dict[str, Any], path: str, in_list: bool) -> Iterator[Field]:
    for name, field in schema.get("properties", {}).items():
        yield Field(f"{path}.{name}", field, name in schema.get("required", []), in_list)
        yield from _below(field, f"{path}.{name}", in_list)
    if "items" in schema:
        yield Field(f"{path}[]", schema["items"], in_list=True)
        yield from _below(schema["items"], f"{path}[]", True)
    if "additionalProperties" in schema:
        yield Field(f"{path}{{}}", schema["additionalProperties"], in_list=in_list)


def fields(kind: Kind) -> list[Field]:
    properties = root_schema(kind)["properties"]
    return [field for part in ("spec", "status") for field in _below(properties[part], part, False)]


def _named(kind: Kind) -> list[Field]:
    return [field for field in fields(kind) if not field.path.endswith(("[]", "{}"))]


every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.kind)


@every_kind
def test_every_string_and_list_is_bounded(kind: Kind) -> None:
    unbounded = [
        field.path
        for field in fields(kind)
        if (field.schema.get("type") == "string" and not {"maxLength", "enum"} & set(field.schema))
        or (field.schema.get("type") == "array" and "maxItems" not in field.schema)
        or ("additionalProperties" in field.schema and "maxProperties" not in field.schema)
    ]
    assert unbounded == []


@every_kind
def test_there_are_no_floats_and_no_untyped_fields(kind: Kind) -> None:
    types = {"string", "integer", "boolean", "object", "array"}
    assert [
        field.path
        for field in fields(kind)
        if field.schema.get("type") not in types and not field.schema.get("x-kubernetes-int-or-string")
    ] == []


@every_kind
def test_free_form_maps_are_labels_only(kind: Kind) -> None:
    assert {field.name for field in fields(kind) if "additionalProperties" in field.schema} <= {"matchLabels"}
    assert [
        field.path
        for field in fields(kind)
        if field.schema.get("type") == "object" and not {"properties", "additionalProperties"} & set(field.schema)
    ] == []


@every_kind
def test_every_list_says_how_it_is_merged(kind: Kind) -> None:
    lists = [field for field in fields(kind) if field.schema.get("type") == "array"]
    assert [field.path for field in lists if "x-kubernetes-list-type" not in field.schema] == []
    for field in lists:
        if field.schema["x-kubernetes-list-type"] == "map":
            keys = field.schema["x-kubernetes-list-map-keys"]
            assert set(keys) <= set(field.schema["items"]["required"]), field.path
        if field.schema["x-kubernetes-list-type"] == "set":
            assert field.schema["items"].get("type") == "string", field.path


@every_kind
def test_conditions_are_a_map_list_by_type(kind: Kind) -> None:
    conditions = root_schema(kind)["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert conditions["maxItems"] == 32
    assert "observedGeneration" in conditions["items"]["properties"]


@every_kind
def test_every_field_is_described_in_more_than_its_name(kind: Kind) -> None:
    for field in _named(kind):
        text = field.schema.get("description", "")
        for mark in MARKS:
            text = text.removesuffix(mark).strip()
        words = {word.strip(".,:;`").lower() for word in text.split()}
        assert len(words - {"the", "a", field.name.lower()}) >= 1, field.path
        assert text.endswith((".", "`")), f"{field.path}: {text}"


@every_kind
def test_every_field_of_the_spec_says_whether_it_may_change(kind: Kind) -> None:
    assert [
        field.path for field in _named(kind) if field.in_spec and not field.schema["description"].endswith(MARKS)
    ] == []
    assert [
        field.path for field in _named(kind) if not field.in_spec and field.schema["description"].endswith(MARKS)
    ] == []


@every_kind
def test_every_field_is_required_or_has_a_default_or_says_what_unset_means(kind: Kind) -> None:
    assert [
        field.path
        for field in _named(kind)
        if not field.required
        and "default" not in field.schema
        and "nset" not in field.schema["description"]
        and "With type" not in field.schema["description"]
    ] == []


@every_kind
def test_no_schema_default_stands_inside_a_list_item_or_the_status(kind: Kind) -> None:
    assert [field.path for field in fields(kind) if "default" in field.schema and field.in_list] == []
    assert [field.path for field in fields(kind) if "default" in field.schema and not field.in_spec] == []


@every_kind
def test_a_default_inside_an_object_has_a_default_of_the_object_or_says_what_unset_means(kind: Kind) -> None:
    by_path = {field.path: field for field in fields(kind)}
    for field in by_path.values():
        parent = by_path.get(field.path.rsplit(".", 1)[0])
        if "default" in field.schema and parent is not None and not parent.required:
            said = parent.schema["description"]
            assert "default" in parent.schema or "Unset:" in said or "With " in said, field.path


def _immutable(kind: Kind) -> list[tuple[dict[str, Any], str, Field]]:
    """The fields that are marked immutable and whose parent is not: (parent's schema, name, field)."""
    spec = root_schema(kind)["properties"]["spec"]
    by_path = {"spec": Field("spec", spec), **{field.path: field for field in fields(kind)}}
    found = []
    for path, field in by_path.items():
        text = field.schema.get("description", "")
        parent = by_path.get(path.rsplit(".", 1)[0]) if "." in path else None
        if parent is None or not text.endswith(MARKS[0]):
            continue
        enclosing = by_path.get(parent.path.removesuffix("[]"), parent)
        if not enclosing.schema.get("description", "").endswith(MARKS[0]):
            found.append((parent.schema, field.name, field))
    return found


@every_kind
def test_every_immutable_field_has_its_rule_and_every_such_rule_its_mark(kind: Kind) -> None:
    marked = {(id(parent[0]), parent[1]) for parent in _immutable(kind)}
    for parent, name, field in _immutable(kind):
        rules = [rule["rule"] for rule in parent.get(RULES, []) if rule.get("fieldPath") == f".{name}"]
        always = field.required or "default" in field.schema
        if always:
            assert f"self.{name} == oldSelf.{name}" in rules, field.path
        else:
            assert any(rule.startswith(f"has(self.{name}) == has(oldSelf.{name}) && ") for rule in rules), field.path
    ruled = sum(
        rule["message"].startswith("cannot be ") for field in _with_rules(kind) for rule in field.schema.get(RULES, [])
    )
    assert ruled == len(marked)


def _with_rules(kind: Kind) -> list[Field]:
    return [Field("spec", root_schema(kind)["properties"]["spec"]), *fields(kind)]


@every_kind
def test_every_field_that_changes_only_when_empty_has_a_rule_at_the_root(kind: Kind) -> None:
    marked = {f".{field.path}" for field in _named(kind) if field.schema["description"].endswith(MARKS[3])}
    paths = {rule.get("fieldPath") for rule in root_schema(kind).get(RULES, []) if "status" in rule["rule"]}
    direct = {path for path in marked if path.rsplit(".", 1)[0] not in marked}
    assert direct == paths


@every_kind
def test_types_sources_and_references_to_parents_cannot_be_changed(kind: Kind) -> None:
    """design.md section 3, where api.md shows no other mark."""
    spec = root_schema(kind)["properties"]["spec"]["properties"]
    for name in ("type", "source", "zoneRef", "regionRef", "hostPodRef", "scope", "uuid", "madeBy"):
        if name in spec:
            assert spec[name]["description"].endswith(MARKS[0]), name


@every_kind
def test_every_union_has_a_rule_for_each_member(kind: Kind) -> None:
    for field in _with_rules(kind):
        members = [
            name
            for name, member in field.schema.get("properties", {}).items()
            if "With type" in member.get("description", "") and "type" in field.schema["properties"]
        ]
        rules = [(rule.get("fieldPath"), rule["message"]) for rule in field.schema.get(RULES, [])]
        for name in members:
            assert any(path == f".{name}" and "must be set when type is" in message for path, message in rules), (
                f"{field.path}.{name}"
            )


@every_kind
def test_the_status_is_bounded_and_not_otherwise_checked(kind: Kind) -> None:
    checks = {RULES, "pattern", "minLength"}
    assert [field.path for field in fields(kind) if not field.in_spec and checks & set(field.schema)] == []


@every_kind
def test_every_rule_says_what_to_do(kind: Kind) -> None:
    for field in [*_with_rules(kind), Field("root", root_schema(kind))]:
        for rule in field.schema.get(RULES, []):
            assert len(rule["message"].split()) >= 3, rule


def test_names_short_names_and_plurals_are_those_of_the_design() -> None:
    assert {kind.kind: (kind.plural, kind.short, kind.namespaced) for kind in KINDS.values()} == {
        "Region": ("regions", "rgn", False),
        "Zone": ("zones", "zn", False),
        "HostPod": ("hostpods", "hpod", False),
        "HostCluster": ("hostclusters", "hcl", False),
        "Host": ("hosts", "hst", False),
        "StoragePool": ("storagepools", "spool", False),
        "ImageStore": ("imagestores", "istore", False),
        "InstanceType": ("instancetypes", "itype", False),
        "VolumeType": ("volumetypes", "vtype", False),
        "Template": ("templates", "tmpl", True),
        "Volume": ("volumes", "vol", True),
        "Snapshot": ("snapshots", "snap", True),
        "Network": ("networks", "nwk", True),
        "NetworkAddress": ("networkaddresses", "naddr", True),
        "Instance": ("instances", "inst", True),
    }
