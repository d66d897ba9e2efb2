"""Who an instance is, after every loss (safety.md I1 to I3, W1)."""

from datetime import UTC, datetime

from controllers.logic.identity import (
    mac_address,
    managed_volume_uuid,
    next_sequence,
    object_uuid,
    platform_name,
)

UUID = "3b0f1d2c-0000-4000-8000-000000000001"


def test_i1_the_users_word_wins() -> None:
    assert object_uuid(UUID, "uid-1") == UUID


def test_i1_without_it_the_uuid_derives_from_the_uid_for_ever() -> None:
    assert object_uuid(None, "uid-1") == "ca99c71b-44a1-557b-a8e1-5d7fdd94019d"
    assert object_uuid(None, "uid-1") != object_uuid(None, "uid-2")


def test_i2_what_a_guest_knows_itself_by_derives_from_the_uuid_and_the_entry() -> None:
    assert managed_volume_uuid(UUID, "root") == managed_volume_uuid(UUID, "root") != managed_volume_uuid(UUID, "data")
    assert mac_address(UUID, "lan") == mac_address(UUID, "lan") != mac_address(UUID, "dmz")


def test_i2_a_mac_address_is_unicast_and_locally_administered() -> None:
    for entry in ("lan", "dmz", "a"):
        first = int(mac_address(UUID, entry).split(":")[0], 16)
        assert first & 0b11 == 0b10


def test_i2_a_taken_mac_address_has_successors() -> None:
    assert len({mac_address(UUID, "lan", n) for n in range(16)}) == 16


def test_i3_the_name_on_the_platform_tells_namesakes_apart() -> None:
    assert platform_name("team-a", "web-1", UUID) == "team-a.web-1.3b0f1d2c"


def test_w1_a_sequence_never_comes_twice_even_when_the_status_was_lost() -> None:
    now = datetime(2026, 11, 25, tzinfo=UTC)
    assert next_sequence(0, now) == int(now.timestamp())
    assert next_sequence(int(now.timestamp()), now) == int(now.timestamp()) + 1
    assert next_sequence(2**40, now) == 2**40 + 1
