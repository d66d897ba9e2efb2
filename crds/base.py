"""What all kinds share: names of the API, the base model, quantities, times, references, conditions.

Imported by every kind, and by the drivers and controllers for the words of the API. No I/O, no Kubernetes client.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

from crds.fields import (
    Keywords,
    Label,
    Name,
    Rule,
    Uuid,
    Word,
    about,
    atomic_list,
    between,
    map_list,
    quoting,
    set_list,
    text,
)

GROUP = "stratiform.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CATEGORY = "stratiform"
FINALIZER = f"{GROUP}/finalizer"
SYSTEM_NAMESPACE = "stratiform-system"

#: Annotations.
PAUSED = f"{GROUP}/paused"
ADOPT = f"{GROUP}/adopt"
IGNORE_ORPHAN = f"{GROUP}/ignore-orphan"
RESUME = f"{GROUP}/resume"
ACCEPT_MACHINE = f"{GROUP}/accept-machine"
RECOMPUTE_CPU = f"{GROUP}/recompute-cpu"
ALLOW_DELETION = f"{GROUP}/allow-deletion"
#: Labels.
CREDENTIAL = f"{GROUP}/credential"
PROTECTED = f"{GROUP}/protected"

_ACRONYMS = {"id": "ID", "iops": "IOPS", "uuid": "UUID", "sr": "SR", "vlan": "VLAN", "vswitch": "VSwitch"}


def yaml_name(attribute: str) -> str:
    """The field's name in YAML: camel case, with the acronyms that the API spells in capitals."""
    first, *rest = attribute.split("_")
    first = first.replace("vsphere", "vSphere")
    return first + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)


class Model(BaseModel):
    """Base of every spec, status and nested object: frozen, camel case in YAML, unknown fields ignored."""

    model_config = ConfigDict(
        alias_generator=yaml_name, populate_by_name=True, extra="ignore", frozen=True, protected_namespaces=()
    )

    #: CEL rules about more than one field of the object.
    RULES: ClassVar[tuple[Rule, ...]] = ()
    #: For a union by `type`: the member (attribute's name) that goes with each value; "" for none.
    UNION: ClassVar[dict[str, str]] = {}
    #: The field that decides which member of the union goes with it.
    UNION_FIELD: ClassVar[str] = "type"

    def to_yaml(self) -> dict[str, Any]:
        """The object as it goes to the API: YAML names, None left out, quantities and times as strings."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


# Quantities ----------------------------------------------------------------------------------------------------------

_QUANTITY = re.compile(r"^([0-9]+(?:\.[0-9]+)?)(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E)?$")
_SUFFIXES = {
    "": 1,
    **{suffix: 1024**power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)},
    **{suffix: 1000**power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), start=1)},
}
_BINARY = [(1024**power, suffix) for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)][::-1]


def parse_quantity(value: int | str) -> int:
    """Bytes of a quantity such as `20Gi`, `1.5Gi`, `500M` or a plain number.

    Raises ValueError when it is no such thing, or no whole number of bytes.
    """
    if isinstance(value, int):
        return value
    match = _QUANTITY.match(value)
    if not match:
        raise ValueError(f"{value!r} is not a quantity: write a number with Ki, Mi, Gi, Ti, Pi, k, M, G, T or P")
    amount = Decimal(match[1]) * _SUFFIXES[match[2] or ""]
    if amount != amount.to_integral_value():
        raise ValueError(f"{value!r} is not a whole number of bytes")
    return int(amount)


def format_quantity(value: int) -> str:
    """The canonical string of a number of bytes: the largest binary unit that divides it (`1536Mi`)."""
    for size, suffix in _BINARY:
        if value and value % size == 0:
            return f"{value // size}{suffix}"
    return str(value)


def shorten_quantity(value: int) -> str:
    """A number of bytes for people, at most one decimal (`1.5Gi`): for columns and messages, never to be parsed."""
    for size, suffix in _BINARY:
        if value >= size:
            amount = f"{value / size:.1f}".removesuffix(".0")
            return f"{amount}{suffix}"
    return str(value)


_PATTERN = _QUANTITY.pattern.replace("?:", "")
_QUANTITY_SCHEMA = {
    "x-kubernetes-int-or-string": True,
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "maxLength": 20,
}
#: In Python a number of bytes; in YAML a Kubernetes quantity.
Quantity = Annotated[
    int,
    BeforeValidator(parse_quantity),
    PlainSerializer(format_quantity, return_type=str, when_used="json"),
    WithJsonSchema({**_QUANTITY_SCHEMA, "pattern": _PATTERN, "minimum": 0}),
]
_IS_QUANTITY = f"string(self).matches(r'{_PATTERN}')"
_BYTES = "quantity(string(self)).asApproximateFloat()"
#: A Quantity that people write: they are told in words what it must be.
AskedQuantity = Annotated[
    int,
    BeforeValidator(parse_quantity),
    PlainSerializer(format_quantity, return_type=str, when_used="json"),
    WithJsonSchema(_QUANTITY_SCHEMA),
    Keywords(
        {},
        (
            quoting(
                f"{_IS_QUANTITY} && double(int({_BYTES})) == {_BYTES}",
                "must be a whole number of bytes, such as 512Mi, 20Gi, 1.5Gi or 500M",
                value="string(self)",
            ),
        ),
    ),
]


def at_least(amount: str) -> Keywords:
    """The smallest sensible value of a quantity."""
    rule = f"!{_IS_QUANTITY} || quantity(string(self)).compareTo(quantity('{amount}')) >= 0"
    return Keywords({}, (Rule(rule, f"must be at least {amount}"),))


# Times ---------------------------------------------------------------------------------------------------------------


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with a Z; milliseconds only where there are some."""
    moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond >= 1000 else "seconds")[:-6] + "Z"


#: An aware moment; in YAML RFC 3339.
Time = Annotated[
    datetime,
    PlainSerializer(format_time, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 40}),
]


# References ----------------------------------------------------------------------------------------------------------


class NameRef(Model):
    """A reference to a cluster-scoped object, or to one in the own namespace."""

    name: Annotated[Name, about("metadata.name of the object referred to; it may be made later.")]


class NamespacedRef(Model):
    """A reference to an object that may be shared from another namespace."""

    name: Annotated[Name, about("metadata.name of the object referred to; it may be made later.")]
    namespace: Annotated[
        Label | None, about("Namespace of the object referred to, whose visibility must include ours. Unset: our own.")
    ] = None


class SecretRef(Model):
    """A reference to a Secret."""

    name: Annotated[
        Name,
        about(
            "metadata.name of the Secret. For a cluster-scoped object it lies in the operator's namespace and carries "
            "the "
            'label stratiform.dev/credential: "true"; for a namespaced one it lies beside it.'
        ),
    ]


class ObjectRef(Model):
    """One particular object in its own namespace: a namesake made later is another one."""

    name: Annotated[Name, about("metadata.name of the object meant.")]
    uid: Annotated[Uuid, about("metadata.uid of the object meant, so that a namesake is never taken for it.")]


LabelKey = Annotated[str, text(317, least=1)]
LabelValue = Annotated[str, text(63)]


class LabelSelector(Model):
    """Labels that must all be there with these values."""

    match_labels: Annotated[
        dict[str, LabelValue],
        Keywords({"maxProperties": 16}),
        about("Labels that must all be there with exactly these values. Unset or empty: everything matches."),
    ] = {}


class NamespaceSet(Model):
    """Which namespaces may do something."""

    UNION: ClassVar[dict[str, str]] = {"None": "", "Own": "", "All": "", "Names": "names", "Selector": "selector"}

    type: Annotated[
        Literal["None", "Own", "All", "Names", "Selector"],
        about(
            "None: no namespace; Own: the object's own; All: every one; Names: those listed; Selector: those whose "
            "labels match. On a namespaced object its own namespace is always included."
        ),
    ]
    names: Annotated[
        tuple[Label, ...] | None, set_list(most=64, least=1), about("The namespaces meant. With type Names only.")
    ] = None
    selector: Annotated[LabelSelector | None, about("Labels of the namespaces meant. With type Selector only.")] = None


# Conditions and metadata ---------------------------------------------------------------------------------------------


class Condition(Model):
    """A metav1 condition."""

    type: Annotated[Word, about("What is stated, such as Ready or Synced.")]
    status: Annotated[Literal["True", "False", "Unknown"], about("Whether it holds.")]
    reason: Annotated[Word, about("One word from a fixed list, for programs.")]
    message: Annotated[
        str, text(4096), about("For people: which object and field, what was asked, what was found, what to do.")
    ] = ""
    last_transition_time: Annotated[Time, about("When `status` last changed.")]
    observed_generation: Annotated[
        int | None, between(0, 2**53), about("metadata.generation that was looked at. Unset: none yet.")
    ] = None


class StatusModel(Model):
    """Base of every status."""

    observed_generation: Annotated[
        int | None, between(0, 2**53), about("metadata.generation that this status speaks of. Unset: none yet.")
    ] = None
    state: Annotated[
        Word | None, about("One word for people; conditions are for programs. Unset: not looked at yet.")
    ] = None
    conditions: Annotated[
        tuple[Condition, ...],
        map_list("type", most=32),
        about("Ready and Synced always; others only while they say something."),
    ] = ()

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type, if it is there."""
        return next((condition for condition in self.conditions if condition.type == kind), None)


class ObjectMeta(Model):
    """The part of metadata that the controllers read."""

    name: str
    namespace: str | None = None
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()


# Shared parts of specs -----------------------------------------------------------------------------------------------

AllocationState = Literal["Enabled", "Disabled"]
DeletionPolicy = Literal["Delete", "Retain"]
Hypervisor = Literal["KVM", "VSphere", "Xen", "Simulated"]
Architecture = Literal["x86_64", "aarch64"]
Firmware = Literal["BIOS", "UEFI"]
DiskFormat = Literal["QCOW2", "Raw", "VMDK"]

ALL_NAMESPACES = NamespaceSet(type="All")
NO_NAMESPACES = NamespaceSet(type="None")
OWN_NAMESPACE = NamespaceSet(type="Own")

ALLOCATION_STATE = "Disabled: nothing new is placed on or below it; what runs, runs on."
DEDICATED_TO = "Namespaces whose instances may be placed here; what runs already is left alone."


class NFS(Model):
    """An NFS export."""

    server: Annotated[str, text(253, least=1), about("Host name or address of the NFS server, as the hosts see it.")]
    path: Annotated[str, text(1024, least=1), about("Exported directory, absolute.")]
    options: Annotated[
        tuple[Annotated[str, text(128, least=1, pattern=r"^[a-z0-9_]+(=[A-Za-z0-9._:/-]+)?$")], ...],
        atomic_list(most=16),
        about("Mount options, such as vers=4.1, in the order they are given to mount. Unset: the host's own defaults."),
    ] = ()


class Orphan(Model):
    """A thing with our mark whose object the API does not know: it is never destroyed by itself."""

    uuid: Annotated[Uuid, about("Our UUID in its mark: what stratiform.dev/adopt and ignore-orphan name.")]
    kind: Annotated[Word, about("Kind in its mark.")]
    namespace: Annotated[Label, about("Namespace in its mark.")]
    name: Annotated[Name, about("Name in its mark.")]
    uid: Annotated[Uuid | None, about("metadata.uid in its mark. Unset: the mark has none.")] = None
    state: Annotated[Word | None, about("What it does: Running or Off; of a disk: creating, ready or retained.")] = None
    disk: Annotated[Word | None, about("Name of the disk on the pool. Unset: it is a machine.")] = None


# Kinds ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """A printer column."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True)
class Kind:
    """All that is to be known of a kind apart from its models' fields."""

    kind: str
    plural: str
    singular: str
    short: str
    namespaced: bool
    spec: type[Model]
    status: type[StatusModel]
    description: str
    columns: tuple[Column, ...]
    #: Rules at the root, where metadata.name can be read.
    rules: tuple[Rule, ...] = ()
    #: Reason and message of Ready=True that every object of the kind has from its creation on, because existing is all
    #: that is asked of it; None: Ready is Unknown, Pending until it was looked at.
    from_creation: tuple[str, str] | None = None

    @property
    def crd_name(self) -> str:
        """metadata.name of its CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"
