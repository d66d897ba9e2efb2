"""How a field of a kind is declared: what it means, whether it may change, and how it is bounded.

Every kind's model is written with these few words, so that one declaration gives the text of `kubectl explain`, the
bounds of the structural schema and the CEL rule that guards the mark. All of it is schema only: parsing an object in
the controllers checks types and nothing else, because the API server has checked the rest already. Called by the
kinds; read by `crds.schema`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema

Mark = Literal["immutable", "live", "restart", "empty"]

#: Keywords of ours in an unfinished schema; `crds.schema` turns them into text and rules and takes them out.
MARK = "x-mark"
NO_SCHEMA_DEFAULT = "x-no-schema-default"
RULES = "x-kubernetes-validations"


@dataclass(frozen=True)
class Rule:
    """One CEL rule with the message a person sees. `field` is the member of the object that the message is about."""

    rule: str
    message: str
    field: str = ""
    message_expression: str = ""

    def as_schema(self) -> dict[str, str]:
        """The entry of `x-kubernetes-validations`."""
        entry = {"rule": self.rule, "message": self.message}
        if self.field:
            entry["fieldPath"] = f".{self.field}"
        if self.message_expression:
            entry["messageExpression"] = self.message_expression
        return entry


def quoting(rule: str, says: str, value: str = "self") -> Rule:
    """A rule whose message begins with the value, which is a bounded string and no secret."""
    return Rule(rule, says, message_expression=f"'\"' + {value} + '\" ' + {json.dumps(says)}")


@dataclass(frozen=True)
class Keywords:
    """Schema keywords that `Annotated` carries on a field or a type."""

    values: Mapping[str, Any]
    rules: tuple[Rule, ...] = field(default=())

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Adds the keywords to what pydantic makes of the type; rules add up."""
        schema = dict(handler(core))
        schema.update(self.values)
        if self.rules:
            schema[RULES] = [*schema.get(RULES, []), *(rule.as_schema() for rule in self.rules)]
        return schema

    def __hash__(self) -> int:
        return id(self)


def about(description: str, *rules: Rule, schema_default: bool = True, mark: Mark | None = None) -> Keywords:
    """Describes a field that may change when what encloses it may.

    `schema_default=False` keeps a Python default out of the schema: unset then stays unset in the API, and the
    description says what it means.
    """
    values: dict[str, Any] = {"description": description}
    if mark:
        values[MARK] = mark
    if not schema_default:
        values[NO_SCHEMA_DEFAULT] = True
    return Keywords(values, rules)


def immutable(description: str, *rules: Rule, schema_default: bool = True) -> Keywords:
    """A field that is fixed when its object, or its entry of a map list, is made."""
    return about(description, *rules, schema_default=schema_default, mark="immutable")


def live(description: str, *rules: Rule, schema_default: bool = True) -> Keywords:
    """A field whose change takes effect at once."""
    return about(description, *rules, schema_default=schema_default, mark="live")


def on_restart(description: str, *rules: Rule, schema_default: bool = True) -> Keywords:
    """A field whose change waits for the instance's next restart."""
    return about(description, *rules, schema_default=schema_default, mark="restart")


def when_empty(description: str, *rules: Rule, schema_default: bool = True) -> Keywords:
    """A field that may change only while nothing is on or attached to the object."""
    return about(description, *rules, schema_default=schema_default, mark="empty")


def map_list(*keys: str, most: int, least: int = 0) -> Keywords:
    """A list that people patch entry by entry; its order means nothing."""
    return _listed({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}, most, least)


def set_list(*, most: int, least: int = 0) -> Keywords:
    """Unordered scalars, none twice."""
    return _listed({"x-kubernetes-list-type": "set"}, most, least)


def atomic_list(*, most: int, least: int = 0) -> Keywords:
    """A list that is replaced as a whole: its order means something, or its entries have no key."""
    return _listed({"x-kubernetes-list-type": "atomic"}, most, least)


def _listed(values: dict[str, Any], most: int, least: int) -> Keywords:
    return Keywords({**values, "maxItems": most, **({"minItems": least} if least else {})})


def between(least: int, most: int) -> Keywords:
    """Inclusive bounds of an integer."""
    return Keywords({"minimum": least, "maximum": most})


def text(most: int, *, least: int = 0, pattern: str = "", says: str = "", secret: bool = False) -> WithJsonSchema:
    """A bounded string. With `says` a person who breaks the pattern reads that and the value, unless it is secret."""
    schema: dict[str, Any] = {"type": "string", "maxLength": most}
    if least:
        schema["minLength"] = least
    if pattern and says:
        rule = f"self.matches(r'{pattern}')"
        schema[RULES] = [(Rule(rule, says) if secret else quoting(rule, says)).as_schema()]
    elif pattern:
        schema["pattern"] = pattern
    return WithJsonSchema(schema)


DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

#: A metadata.name.
Name = Annotated[str, text(253, least=1, pattern=DNS_NAME)]
#: A namespace's name, or any other DNS label.
Label = Annotated[str, text(63, least=1, pattern=DNS_LABEL)]
#: The name of a volume or NIC in an instance.
ShortLabel = Annotated[str, text(20, least=1, pattern=DNS_LABEL)]
#: A host name or address that a connection goes to.
Server = Annotated[str, text(253, least=1, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9.:]*[A-Za-z0-9])?$")]
Uuid = Annotated[
    str, text(36, pattern=UUID, says="must be a UUID in lower case, such as 0b6c1d3e-1111-4222-8333-944455556666")
]
#: An absolute path without "..", spaces or quotes.
Path = Annotated[str, text(1024, least=1, pattern=r"^(/[A-Za-z0-9_@%+=:,-][A-Za-z0-9._@%+=:,-]*)+/?$")]
#: An identifier of another system, of which only the length is ours to say.
Identifier = Annotated[str, text(253, least=1)]
#: A tag that offers and storage are matched by.
Tag = Annotated[str, text(63, least=1, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")]
#: A short word that the controllers write, such as a reason.
Word = Annotated[str, text(64)]
#: One sentence or a few.
Sentence = Annotated[str, text(1024)]
Address = Annotated[
    str,
    text(45, least=2),
    Keywords(
        {},
        (
            quoting(
                "isIP(self) && ip.isCanonical(self)",
                "must be an IP address in canonical form, such as 10.91.0.60 or 2001:db8::1",
            ),
        ),
    ),
]
Cidr = Annotated[
    str,
    text(49, least=4),
    Keywords(
        {},
        (
            quoting(
                "isCIDR(self) && string(cidr(self).masked()) == self",
                "must be a network in canonical form: its first address and the prefix length, such as 10.91.0.0/24",
            ),
        ),
    ),
]
