"""From pydantic models to CustomResourceDefinitions that a real API server accepts.

Called by `python -m crds` and the tests.

Pydantic's JSON schema is not a structural schema: it has references, nullable unions and titles. A generator with few
overrides leaves them out, and one walk inlines what is referred to, gives each field the text of its mark and default,
and writes the CEL rules that the marks and unions stand for.
"""

from dataclasses import dataclass, replace
from typing import Any, cast

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from crds.base import CATEGORY, GROUP, VERSION, Column, Kind, Model, yaml_name
from crds.fields import MARK, NO_SCHEMA_DEFAULT, RULES, Mark, Rule

Schema = dict[str, Any]

PENDING = {
    "conditions": [
        {
            "type": "Ready",
            "status": "Unknown",
            "reason": "Pending",
            "message": "Waiting for the operator to look at it.",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }
    ]
}
"""An object without a status reads as healthy to kstatus, so the API server gives every new one this."""

_MARK_TEXT: dict[Mark, str] = {
    "immutable": "Cannot be changed.",
    "live": "May be changed at any time.",
    "restart": "A change waits for the next restart.",
    "empty": "May be changed only while it is empty.",
}
_CANNOT = "cannot be changed"
_CANNOT_OPTIONAL = "cannot be set, changed or removed later"


class _Generator(GenerateJsonSchema):
    """Pydantic's generator without what a structural schema may not have."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Schema:
        return self.generate_inner(schema["schema"])

    def literal_schema(self, schema: core_schema.LiteralSchema) -> Schema:
        return {"type": "string", "enum": list(schema["expected"])}

    def int_schema(self, schema: core_schema.IntSchema) -> Schema:
        return {**super().int_schema(schema), "format": "int64"}

    def encode_default(self, dft: Any) -> Any:
        return dft.to_yaml() if isinstance(dft, Model) else super().encode_default(dft)

    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:
        result = super().model_schema(schema)
        model = cast(type[Model], schema["cls"])
        rules = [rule.as_schema() for rule in (*union_rules(model), *model.RULES)]
        return {**result, RULES: rules} if rules else result


def union_rules(model: type[Model]) -> list[Rule]:
    """The rules that exactly the member that goes with the union's type is there."""
    by = yaml_name(model.UNION_FIELD)
    return [
        Rule(
            f"(self.{by} == '{value}') == has(self.{yaml_name(member)})",
            f"must be set when {by} is {value}, and only then",
            field=yaml_name(member),
        )
        for value, member in model.UNION.items()
        if member
    ]


@dataclass(frozen=True)
class _Place:
    """Where the walk is: what encloses a field decides what its mark and default come to."""

    definitions: Schema
    in_status: bool
    mark: Mark = "live"
    in_list: bool = False
    correlated: bool = True
    """Whether CEL can tell the old value that belongs to this one: not below an atomic list."""


def structural(model: type[Model], *, status: bool = False) -> Schema:
    """The structural schema of a spec or status."""
    raw = model.model_json_schema(by_alias=True, schema_generator=_Generator, mode="validation")
    place = _Place(raw.pop("$defs", {}), in_status=status)
    return _walk(raw, place)


def _walk(raw: Schema, place: _Place) -> Schema:
    schema = _inlined(raw, place.definitions)
    schema.pop("title", None)
    schema.pop(MARK, None)
    schema.pop(NO_SCHEMA_DEFAULT, None)
    if place.in_status:
        # The operator alone writes it: a check costs in every write, and one odd name must not refuse the whole.
        for keyword in (RULES, "pattern", "minLength"):
            schema.pop(keyword, None)
    schema.pop("additionalProperties" if schema.get("properties") else "", None)
    if "properties" in schema:
        _walk_properties(schema, place)
    if "items" in schema:
        atomic = schema["x-kubernetes-list-type"] == "atomic"
        inner = replace(place, in_list=True, correlated=place.correlated and not atomic)
        schema["items"] = _walk(schema["items"], inner)
        _describe_keys(schema, place)
    return schema


def _inlined(raw: Schema, definitions: Schema) -> Schema:
    """The schema with its reference resolved; what stands beside the reference wins, rules add up."""
    schema = dict(raw)
    while "$ref" in schema:
        target = definitions[schema.pop("$ref").removeprefix("#/$defs/")]
        rules = [*target.get(RULES, []), *schema.get(RULES, [])]
        schema = {**target, **schema, **({RULES: rules} if rules else {})}
    return schema


def _walk_properties(schema: Schema, place: _Place) -> None:
    rules = []
    required = schema.get("required", [])
    properties = {}
    for name, raw in schema["properties"].items():
        own: Mark | None = raw.get(MARK)
        mark = own or place.mark
        field = _walk(raw, replace(place, mark=mark))
        field.setdefault("description", "")
        _settle_default(field, raw, place, required=name in required)
        if not place.in_status:
            field["description"] += f" {_MARK_TEXT[mark]}"
            if mark == "immutable" and place.mark != "immutable" and place.correlated:
                always = name in required or "default" in field
                rules.append(immutable_rule(name, always=always).as_schema())
        properties[name] = field
    schema["properties"] = properties
    if rules:
        schema[RULES] = [*schema.get(RULES, []), *rules]


def immutable_rule(name: str, *, always: bool) -> Rule:
    """The rule on the parent that its member never changes; one that may be absent may neither come nor go."""
    if always:
        return Rule(f"self.{name} == oldSelf.{name}", _CANNOT, field=name)
    return Rule(
        f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})",
        _CANNOT_OPTIONAL,
        field=name,
    )


def _settle_default(field: Schema, raw: Schema, place: _Place, *, required: bool) -> None:
    """Keeps a default where the API server may apply it; elsewhere the description says what unset means."""
    if required:
        return
    default = field.pop("default", None)
    said = "nset" in field["description"]
    if default in (None, [], {}, ""):
        if not said:
            field["description"] += " Unset: none."
    elif place.in_list or place.in_status or raw.get(NO_SCHEMA_DEFAULT):
        if not said:
            field["description"] += f" Unset: {_spelled(default)}."
    else:
        field["default"] = default


def _spelled(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def _describe_keys(schema: Schema, place: _Place) -> None:
    """The key of a map list has no mark of its own: another key is another entry."""
    for key in schema.get("x-kubernetes-list-map-keys", []):
        field = schema["items"]["properties"][key]
        if not place.in_status and place.mark != "immutable":
            text = field["description"].removesuffix(_MARK_TEXT[place.mark])
            field["description"] = f"{text}The entry's key: another name is another entry."


# CustomResourceDefinition --------------------------------------------------------------------------------------------


def custom_resource_definition(kind: Kind) -> Schema:
    """The manifest of the kind's CRD."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name, "labels": {"app.kubernetes.io/part-of": "stratiform"}},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": [kind.short],
                "categories": [CATEGORY],
            },
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                    "schema": {"openAPIV3Schema": root_schema(kind)},
                    "subresources": {"status": {}},
                }
            ],
        },
    }


def root_schema(kind: Kind) -> Schema:
    """The schema of the whole object."""
    spec = structural(kind.spec)
    spec["description"] = "What is asked for."
    status = structural(kind.status, status=True)
    status["description"] = "What is known; written by the operator alone, and rebuilt by it when lost."
    status["default"] = first_status(kind)
    root: Schema = {
        "type": "object",
        "description": kind.description,
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"{kind.kind}."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
    if spec.get("required"):
        root["required"] = ["spec"]
    else:
        spec["default"] = {}
    if kind.rules:
        root[RULES] = [rule.as_schema() for rule in kind.rules]
    return root


def first_status(kind: Kind) -> Schema:
    """What a new object shows until its status is written."""
    if kind.from_creation is None:
        return PENDING
    reason, message = kind.from_creation
    said = {"status": "True", "reason": reason, "message": message, "observedGeneration": 1}
    return {"conditions": [PENDING["conditions"][0] | said]}


def _column(column: Column) -> Schema:
    result: Schema = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.wide:
        result["priority"] = 1
    return result
