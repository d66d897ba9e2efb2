"""Two labs never meet, and the demo's addresses are those that examples/ names."""

from itertools import combinations

from lab.layout import LAST_INDEX, Layout


def test_the_demo_has_the_addresses_of_the_examples() -> None:
    demo = Layout("demo", 0)
    assert (str(demo.management), str(demo.wire), demo.api_port) == ("10.90.0.0/24", "10.91.0.0/24", 16443)
    assert str(demo.address(11)) == "10.90.0.11"


def test_no_two_labs_share_a_network_or_a_port() -> None:
    labs = [Layout(f"lab-{index}", index) for index in range(LAST_INDEX + 1)]
    for one, other in combinations(labs, 2):
        assert {one.management, one.wire}.isdisjoint({other.management, other.wire})
        assert ports(one).isdisjoint(ports(other))
    assert str(labs[-1].wire) == "10.255.0.0/24"


def ports(lab: Layout) -> set[int]:
    mine = {lab.api_port, lab.etcd_port, lab.etcd_peer_port, lab.controller_manager_port, lab.operator_port}
    assert len(mine) == 5
    return mine
