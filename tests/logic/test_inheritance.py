"""What a host inherits from above: allocation state, dedication, zone."""

import pytest

from controllers.logic.inheritance import (
    allows,
    effective_allocation,
    hosts_in_scope,
    in_scope,
    lineage,
    refuses,
    zone_of,
)
from crds.base import NamespaceSet
from crds.storagepool import PoolScope
from tests.logic.infrastructure import Cloud

CLUSTER = {"hostPodRef": {"name": "p"}, "hypervisor": "Simulated"}
DISABLED = {"allocationState": "Disabled"}
LEVELS = {
    "the host itself": ("Host h is Disabled", lambda c: c.host(allocationState="Disabled")),
    "its cluster": ("HostCluster c is Disabled", lambda c: c.add("HostCluster", "c", {**CLUSTER, **DISABLED})),
    "its rack": ("HostPod p is Disabled", lambda c: c.add("HostPod", "p", {"zoneRef": {"name": "z"}, **DISABLED})),
    "its zone": (
        "Zone z is Disabled",
        lambda c: c.add("Zone", "z", {"regionRef": {"name": "default"}, "allocationState": "Disabled"}),
    ),
    "its zone that is being deleted": (
        "Zone z is being deleted",
        lambda c: c.add("Zone", "z", {"regionRef": {"name": "default"}}, deletionTimestamp="2026-01-01T11:00:00Z"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("source", "change"), LEVELS.values(), ids=LEVELS.keys())
def test_nothing_new_is_placed_below_what_is_disabled(source: str, change: object) -> None:
    cloud = Cloud()
    assert effective_allocation(cloud.cache, cloud.host()).enabled
    change(cloud)  # type: ignore[operator]
    found = effective_allocation(cloud.cache, cloud.cache.get("Host", "", "h"))  # type: ignore[arg-type]
    assert (found.state, found.source) == ("Disabled", source)


def test_a_missing_link_is_no_error() -> None:
    cloud = Cloud()
    lonely = cloud.add("Host", "lonely", {"hostClusterRef": {"name": "none"}, "connection": {"type": "Simulated"}})
    assert lineage(cloud.cache, lonely).above == ()
    assert zone_of(cloud.cache, lonely) is None
    assert effective_allocation(cloud.cache, lonely).enabled


ONLY = NamespaceSet.model_validate({"type": "Names", "names": ["team-a"]})
GOLD = NamespaceSet.model_validate({"type": "Selector", "selector": {"matchLabels": {"tier": "gold"}}})
SETS = [
    ("All holds everybody", NamespaceSet(type="All"), "", "team-b", {}, True),
    ("None holds nobody", NamespaceSet(type="None"), "", "team-b", {}, False),
    ("None holds the own namespace of a namespaced object", NamespaceSet(type="None"), "team-b", "team-b", {}, True),
    ("Own holds the own namespace", NamespaceSet(type="Own"), "team-b", "team-b", {}, True),
    ("Own holds no other", NamespaceSet(type="Own"), "team-b", "team-a", {}, False),
    ("Names holds those named", ONLY, "", "team-a", {}, True),
    ("Names holds no other", ONLY, "", "team-b", {}, False),
    ("Selector holds those with the labels", GOLD, "", "team-b", {"tier": "gold", "x": "y"}, True),
    ("Selector holds none with others", GOLD, "", "team-b", {"tier": "lead"}, False),
    ("Selector holds no namespace that is not known yet", GOLD, "", "team-b", None, False),
]


@pytest.mark.parametrize(
    ("allowed", "own", "namespace", "labels", "holds"), [s[1:] for s in SETS], ids=[s[0] for s in SETS]
)
def test_namespace_sets(
    allowed: NamespaceSet, own: str, namespace: str, labels: dict[str, str] | None, holds: bool
) -> None:
    assert allows(allowed, own, namespace, labels) is holds


def test_a_rack_dedicated_to_others_refuses() -> None:
    cloud = Cloud()
    host = cloud.host()
    assert refuses(cloud.cache, host, "team-b") == ""
    cloud.add("HostPod", "p", {"zoneRef": {"name": "z"}, "dedicatedTo": {"type": "Names", "names": ["team-a"]}})
    assert refuses(cloud.cache, host, "team-b") == "HostPod p"
    assert refuses(cloud.cache, host, "team-a") == ""


SCOPES = [
    ({"type": "Zone", "zoneRef": {"name": "z"}}, ["h", "i"]),
    ({"type": "HostCluster", "hostClusterRef": {"name": "c"}}, ["h", "i"]),
    ({"type": "Host", "hostRef": {"name": "i"}}, ["i"]),
    ({"type": "Host", "hostRef": {"name": "none"}}, []),
    ({"type": "Zone", "zoneRef": {"name": "other"}}, []),
]


@pytest.mark.parametrize(("scope", "expected"), SCOPES)
def test_hosts_in_a_pools_scope(scope: dict[str, object], expected: list[str]) -> None:
    cloud = Cloud()
    hosts = [cloud.host("i"), cloud.host("h")]
    parsed = PoolScope.model_validate(scope)
    assert [h.name for h in hosts_in_scope(cloud.cache, parsed)] == expected
    assert sorted(h.name for h in hosts if in_scope(cloud.cache, parsed, h)) == expected
