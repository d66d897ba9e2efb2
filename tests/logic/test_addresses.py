"""Which addresses of a Network may be given out."""

import pytest

from controllers.logic import addresses
from crds.network import IPAM, AddressRange, NetworkSpec, Subnet


def network(*subnets: Subnet) -> NetworkSpec:
    return NetworkSpec.model_validate(
        {"zoneRef": {"name": "z"}, "type": "Simulated", "ipam": IPAM(subnets=subnets).to_yaml() if subnets else None}
    )


def subnet(cidr: str, *ranges: tuple[str, str], gateway: str | None = None) -> Subnet:
    return Subnet(cidr=cidr, gateway=gateway, ranges=tuple(AddressRange(start=a, end=b) for a, b in ranges))


V4 = subnet("10.91.0.0/24", ("10.91.0.50", "10.91.0.52"), gateway="10.91.0.51")


def test_every_free_address_of_the_ranges_is_offered_once_and_the_gateway_never() -> None:
    assert sorted(addresses.free_addresses(V4, (), "any")) == ["10.91.0.50", "10.91.0.52"]


def test_a_taken_address_is_not_offered() -> None:
    assert list(addresses.free_addresses(V4, {"10.91.0.50"}, "any")) == ["10.91.0.52"]


def test_instances_begin_at_different_places_so_that_they_rarely_want_the_same() -> None:
    wide = subnet("10.0.0.0/16", ("10.0.1.0", "10.0.200.0"))
    firsts = {next(addresses.free_addresses(wide, (), f"uid-{n}")) for n in range(50)}
    assert len(firsts) > 45


def test_the_same_instance_begins_at_the_same_place_after_a_restart() -> None:
    wide = subnet("10.0.0.0/16", ("10.0.1.0", "10.0.200.0"))
    assert next(addresses.free_addresses(wide, (), "u")) == next(addresses.free_addresses(wide, (), "u"))


def test_a_huge_ipv6_range_is_not_walked_to_its_end() -> None:
    huge = subnet("2001:db8::/64", ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"))
    assert next(addresses.free_addresses(huge, (), "u"))
    assert addresses.room(huge) > 2**62


@pytest.mark.parametrize(
    ("address", "usable", "why"),
    [
        ("10.91.0.0", False, "the network's own address"),
        ("10.91.0.255", False, "the broadcast address"),
        ("10.91.0.51", False, "the gateway"),
        ("10.91.1.7", False, "outside the subnet"),
        ("10.91.0.9", True, "inside, though in no range"),
    ],
)
def test_what_a_guest_may_have(address: str, usable: bool, why: str) -> None:
    assert addresses.usable(V4, address) is usable, why


def test_both_addresses_of_a_point_to_point_subnet_are_usable() -> None:
    pair = subnet("10.0.0.4/31")
    assert addresses.usable(pair, "10.0.0.4")
    assert addresses.usable(pair, "10.0.0.5")


def test_room_counts_what_the_ranges_can_give() -> None:
    assert addresses.room(V4) == 2


def test_a_range_that_ends_before_it_starts_is_named() -> None:
    spec = network(subnet("10.0.0.0/24", ("10.0.0.9", "10.0.0.3")))
    assert [p.message for p in addresses.problems(spec)] == ["the range 10.0.0.9 - 10.0.0.3 ends before it starts"]


def test_ranges_and_subnets_that_overlap_are_named() -> None:
    spec = network(subnet("10.0.0.0/24", ("10.0.0.3", "10.0.0.9"), ("10.0.0.9", "10.0.0.12")), subnet("10.0.0.128/25"))
    assert {p.message for p in addresses.problems(spec)} == {
        "two ranges hold 10.0.0.9",
        "overlaps with subnet 10.0.0.0/24",
    }


def test_the_claims_name_has_dashes_and_ipv6_in_full_form() -> None:
    assert addresses.object_name("lan", "10.91.0.60") == "lan.10-91-0-60"
    assert addresses.object_name("lan", "2001:db8::1") == "lan.2001-0db8-0000-0000-0000-0000-0000-0001"
