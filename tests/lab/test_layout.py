"""Two labs never meet, and the demo's addresses are those that examples/ names."""

import subprocess
import sys
import uuid
from ipaddress import ip_network
from itertools import combinations

import pytest

from controllers.config import Settings
from lab.errors import LabError
from lab.layout import LAST_INDEX, ROOT, Layout, locked_or, usable


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


def test_images_may_be_fetched_from_every_lab() -> None:
    ranges = [ip_network(text) for text in Settings().cluster_cidrs]
    assert len(usable()) > 60
    for lab in (Layout("x", index) for index in {0, 1} | usable()):
        assert not any(lab.management.overlaps(taken) for taken in ranges)


def ports(lab: Layout) -> set[int]:
    mine = {lab.api_port, lab.etcd_port, lab.etcd_peer_port, lab.controller_manager_port, lab.operator_port}
    assert len(mine) == 5
    return mine


def test_a_lock_that_another_process_holds_is_refused_with_the_reason_and_free_after_it() -> None:
    name = f"test-{uuid.uuid4().hex}"
    code = f"from lab.layout import locked\nwith locked({name!r}):\n print(flush=True); input()"
    try:
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdin is not None
            other.stdout.readline()
            with pytest.raises(LabError, match="in use"), locked_or("in use", name):
                pass
            other.stdin.write(b"\n")
        with locked_or("in use", name):
            pass
    finally:
        (ROOT / f".{name}.lock").unlink()
