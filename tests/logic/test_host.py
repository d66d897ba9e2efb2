"""H1, H2, N1, N2 and W4 for one host, as tables."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from controllers.engine.base import Key
from controllers.logic.cpu import baseline, narrows
from controllers.logic.host import judge_declaration, sort_out, stale_copies
from controllers.logic.references import in_use
from controllers.logic.zone import vlan_problems
from crds.zone import PhysicalNetwork
from drivers.base import CPUFacts, InstanceFacts, Power, Why
from drivers.marks import InstanceMark
from tests.logic.infrastructure import NOON, Cloud

UUID = "11111111-1111-4111-8111-11111111111"
MINUTE = timedelta(minutes=1)

DECLARATIONS = [
    ("none", None, NOON, False, ""),
    ("after the last contact", NOON, NOON - MINUTE, True, "Declared"),
    ("of a host that never answered", NOON, None, True, "Declared"),
    ("at the last contact", NOON, NOON, False, "HostAnswers"),
    ("before the last contact", NOON - MINUTE, NOON, False, "HostAnswers"),
    ("a little ahead", NOON + 4 * MINUTE, None, True, "Declared"),
    ("far ahead", NOON + 6 * MINUTE, None, False, "DeclaredAhead"),
]


@pytest.mark.parametrize(
    ("declared", "contact", "valid", "reason"), [d[1:] for d in DECLARATIONS], ids=[d[0] for d in DECLARATIONS]
)
def test_h1_a_declaration_is_a_statement_about_one_moment(
    declared: datetime | None, contact: datetime | None, valid: bool, reason: str
) -> None:
    found = judge_declaration(declared, contact, NOON)
    assert (found.valid is not None, found.reason) == (valid, reason)


def test_h1_a_declaration_that_was_too_far_ahead_stays_void_when_its_time_comes() -> None:
    assert judge_declaration(NOON, None, NOON, was_ahead=True).valid is None


def facts(
    number: int, *, uid: str = "u", installation: str = "ours", sequence: int = 1, **changes: Any
) -> InstanceFacts:
    uuid = f"{UUID}{number}"
    mark = InstanceMark(
        installation=installation, namespace="n", name=f"g{number}", uid=uid, uuid=uuid, sequence=sequence
    )
    base: dict[str, Any] = {
        "host": "h", "uuid": uuid, "name": f"n.g{number}", "power": Power.RUNNING, "why": Why.BOOTED, "mark": mark,
        "cpus": 2, "memory": 100, "overhead": 10,
    }  # fmt: skip
    return InstanceFacts(**{**base, **changes})


def test_n1_n2_domains_are_sorted_by_whose_they_are() -> None:
    cloud = Cloud()
    asked = {"zoneRef": {"name": "z"}, "resources": {"cpus": 1, "memory": "1Gi"}}
    known = cloud.add("Instance", "i", asked, namespace="n")
    domains = [
        facts(1, uid=known.uid),
        facts(2, uid="gone"),
        facts(3, mark=None, name="by-hand"),
        facts(4, installation="theirs", power=Power.OFF),
        facts(5, installation="taken-over", uid="gone-too", power=Power.OFF),
        facts(6, mark=None, unreadable=True),
    ]
    found = sort_out({d.uuid: d for d in domains}, ("ours", "taken-over"), cloud.cache)
    assert [(o.name, o.state) for o in found.orphans] == [("g2", "Running"), ("g5", "Off")]
    assert found.orphan_count == 2
    assert found.foreign is not None
    assert (found.foreign.instances, found.foreign.running, found.foreign.cpus, found.foreign.memory) == (2, 1, 2, 110)
    assert found.foreign.names == ("by-hand", "n.g4")


def placed(host: str, sequence: int, target: str = "") -> Any:
    placement: dict[str, Any] = {"host": host, "sequence": sequence}
    if target:
        placement["target"] = {"host": target, "sequence": sequence + 1, "decidedAt": "2026-01-01T00:00:00Z"}
    asked = {"zoneRef": {"name": "z"}, "resources": {"cpus": 1, "memory": "1Gi"}}
    return Cloud().add("Instance", "i", asked, namespace="n", status={"placement": placement})


STALE = [
    ("of a later placement elsewhere", facts(1, power=Power.OFF), placed("other", 2), {}, [False]),
    ("running, the current one not seen yet", facts(1), placed("other", 2), {}, [True]),
    ("running, the current one seen", facts(1), placed("other", 2), {"other": facts(1, sequence=2)}, [False]),
    ("placed here", facts(1), placed("h", 2), {}, []),
    ("of the same sequence: somebody moved it", facts(1, sequence=2), placed("other", 2), {}, []),
    ("of a higher sequence: the API went back", facts(1, sequence=3), placed("other", 2), {}, []),
    ("the incoming end of a migration", facts(1), placed("other", 2, target="h"), {}, []),
    ("busy migrating", facts(1, why=Why.MIGRATING), placed("other", 2), {}, []),
    ("not ours", facts(1, installation="theirs"), placed("other", 2), {}, []),
]


@pytest.mark.parametrize(("here", "instance", "elsewhere", "waits"), [s[1:] for s in STALE], ids=[s[0] for s in STALE])
def test_h1_w4_which_copies_go_before_a_host_is_ready_again(
    here: InstanceFacts, instance: Any, elsewhere: dict[str, InstanceFacts], waits: list[bool]
) -> None:
    found = stale_copies("h", {here.uuid: here}, ("ours",), {"u": instance}, {here.uuid: elsewhere})
    assert [copy.waits for copy in found] == waits


def test_the_baseline_is_what_every_host_can_do() -> None:
    found = baseline(
        [
            CPUFacts(model="New", vendor="A", features=("x", "y", "z")),
            CPUFacts(model="Old", vendor="A", features=("x", "y")),
        ]
    )
    assert (found.model, found.vendor, found.features, found.disabled) == ("Old", "A", ("x", "y"), ())
    mixed = baseline(
        [
            CPUFacts(model="P", vendor="A", features=("x", "p")),
            CPUFacts(model="Q", vendor="B", features=("x", "q", "r")),
        ]
    )
    assert (mixed.model, mixed.vendor, mixed.features, mixed.disabled) == ("P", "", ("x",), ("p",))


@pytest.mark.parametrize(
    ("cpu", "words"),
    [
        (CPUFacts(model="Old", vendor="A", features=("x", "y", "more")), ""),
        (CPUFacts(model="Old", vendor="A", features=("x",)), "lacks y"),
        (CPUFacts(model="Old", vendor="B", features=("x", "y")), "is of B"),
    ],
)
def test_a_host_that_would_narrow_the_baseline_is_told_why(cpu: CPUFacts, words: str) -> None:
    found = narrows(cpu, "Old", "A", ("x", "y"))
    assert words in found if words else not found


def test_who_holds_an_object_is_counted_and_named() -> None:
    zone = Key("Zone", "", "z")
    assert in_use(zone, []) == ""
    assert (
        in_use(zone, [Key("HostPod", "", "p")]) == "1 HostPod (p) refers to Zone z: it goes when nothing does any more."
    )
    many = [Key("Instance", "n", f"i{n}") for n in range(7)]
    assert in_use(zone, [*many, Key("HostPod", "", "p")]) == (
        "1 HostPod (p) and 7 Instances (n/i0, n/i1, n/i2, n/i3, n/i4 and 2 more) refer to Zone z: it goes when nothing "
        "does any more."
    )


@pytest.mark.parametrize(
    ("vlans", "problem"),
    [
        (["100-199", "300"], ""),
        (["199-100"], "ends before it begins"),
        (["4095"], "beyond 4094"),
        (["100-199", "150"], "overlap"),
    ],
)
def test_vlan_ranges_of_a_zone(vlans: list[str], problem: str) -> None:
    found = vlan_problems([PhysicalNetwork(name="lan", vlans=tuple(vlans))])
    assert (problem in " ".join(found)) if problem else not found
