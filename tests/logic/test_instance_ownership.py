"""What an instance may take, and what it must wait for (safety.md N1, N2, N3, M4)."""

from dataclasses import replace

import pytest

from controllers.logic import records
from controllers.logic.ownership import Claim, Must, Take, Wish, holder, judge_found, judge_namesake
from crds.instancestatus import GuestCPU, Hardware, InstanceStatus, NetworkState
from drivers.base import InstanceFacts
from drivers.marks import MAX_BYTES, DiskMark, DiskState, InstanceMark, decode, encode
from tests.logic.machines import DOMAIN, MARK, UUID, running

WISH = Wish(namespace="team-a", name="web-1", uid="uid-new", uuid=UUID, by_uuid=True, installations=("here",))
OURS = running()
FOREIGN = replace(DOMAIN, mark=replace(MARK, installation="elsewhere"))
UNMARKED = replace(DOMAIN, mark=None)
NAMESAKE = replace(running(), uuid="99999999-2222-5333-8444-555555555555")


def found(
    facts: InstanceFacts, wish: Wish = WISH, known: set[str] | None = None, *, imports: bool = False
) -> Take | Must | None:
    return judge_found(wish, {"node-1": facts}, known or set(), imports={"node-1": imports})


def test_nothing_there_is_nothing_in_the_way() -> None:
    assert judge_found(WISH, {}, (), imports={}) is None


def test_its_own_machine_is_nothing_in_the_way() -> None:
    assert found(running(uid="uid-new")) is None


def test_n3_the_users_uuid_is_consent_for_an_orphan_of_its_own_name() -> None:
    assert found(OURS) == Take(OURS, "uid-1", imported=False)


def test_n3_a_machine_of_another_name_is_not_seized() -> None:
    other = running(name="db-1")
    verdict = found(other)
    assert isinstance(verdict, Must) and verdict.reason == "UUIDTaken" and "team-a/db-1" in verdict.message


def test_n3_a_machine_whose_object_exists_is_not_seized() -> None:
    verdict = found(OURS, known={"uid-1"})
    assert isinstance(verdict, Must) and verdict.reason == "UUIDTaken"


def test_n3_an_unmarked_machine_needs_the_clusters_leave() -> None:
    verdict = found(UNMARKED)
    assert isinstance(verdict, Must) and verdict.reason == "ImportNotAllowed" and "allowImports" in verdict.message
    assert found(UNMARKED, imports=True) == Take(UNMARKED, "", imported=True)


def test_n1_another_installations_machine_is_not_ours() -> None:
    verdict = found(FOREIGN)
    assert isinstance(verdict, Must) and verdict.reason == "NotOurs" and "takeOver" in verdict.message


def test_n2_an_orphan_of_its_name_makes_it_wait() -> None:
    verdict = judge_namesake(replace(WISH, by_uuid=False), [NAMESAKE], ())
    assert isinstance(verdict, Must) and verdict.reason == "OrphanExists"
    assert f"stratiform.dev/adopt: {NAMESAKE.uuid}" in verdict.message
    assert "stratiform.dev/ignore-orphan" in verdict.message


def test_n2_adopted_it_is_taken() -> None:
    assert judge_namesake(replace(WISH, adopt=NAMESAKE.uuid), [NAMESAKE], ()) == Take(NAMESAKE, "uid-1", imported=False)


def test_n2_ignored_it_is_no_hindrance() -> None:
    assert judge_namesake(replace(WISH, ignore=NAMESAKE.uuid), [NAMESAKE], ()) is None


def test_n2_a_machine_of_a_living_object_is_no_orphan() -> None:
    assert judge_namesake(WISH, [NAMESAKE], {"uid-1"}) is None


def _claim(uid: str, created: str, *, refused: bool = False, held: bool = False) -> Claim:
    return Claim(refused=refused, held=held, created_at=created, uid=uid, name=f"team-a/{uid}")


@pytest.mark.parametrize(
    ("claims", "keeper"),
    [
        ([_claim("a", "2026-01-01"), _claim("b", "2026-01-02")], "a"),
        ([_claim("a", "2026-01-01"), _claim("b", "2026-01-02", held=True)], "b"),
        ([_claim("a", "2026-01-01", refused=True), _claim("b", "2026-01-02")], "b"),
        ([_claim("b", "2026-01-01"), _claim("a", "2026-01-01")], "a"),
    ],
    ids=["the older", "who is placed", "N3 who was refused holds nothing", "the uid decides the rest"],
)
def test_n3_who_keeps_a_uuid(claims: list[Claim], keeper: str) -> None:
    found_ = holder(claims)
    assert found_ is not None and found_.uid == keeper


# ---------------------------------------------------------------- the mark

IDENTITY = records.Identity(installation="here", namespace="team-a", name="web-1", uid="uid-1", uuid=UUID)
STATUS = InstanceStatus(
    hardware=Hardware(machine="pc-q35-7.2", firmware="BIOS"),
    networks=(NetworkState(name="lan", mac_address="02:00:00:00:00:01", addresses=("10.91.0.60",), slot=0),),
    run_count=3,
)


def _mark() -> InstanceMark:
    return records.compose(
        IDENTITY, STATUS, sequence=7, disks=[("root", "v-uuid", "v-uuid-1")], starting=4, runs=3, restart=None,
        started=[("spec.cloudInit", "abc")],
    )  # fmt: skip


def test_m1_the_mark_says_all_that_is_needed_to_go_on() -> None:
    mark = _mark()
    assert (mark.sequence, mark.run_count, mark.starting) == (7, 3, 4)
    assert mark.volumes == (("root", "v-uuid", "v-uuid-1"),)
    assert mark.addresses == (("lan", "02:00:00:00:00:01", ("10.91.0.60",)),)
    assert decode(encode(mark)) == mark


def test_m4_a_lost_status_comes_back_from_the_mark() -> None:
    back = records.recover(InstanceStatus(), replace(DOMAIN, mark=_mark()))
    assert back.hardware == STATUS.hardware
    assert back.networks[0].addresses == ("10.91.0.60",) and back.networks[0].mac_address == "02:00:00:00:00:01"
    assert back.run_count == 3 and back.platform_name == DOMAIN.name


def test_m4_what_the_status_has_stays() -> None:
    late = "2026-01-01T00:00:00Z"
    asked = records.recover(STATUS, replace(DOMAIN, mark=replace(_mark(), last_power_request=late)))
    assert asked.last_power_request is not None and asked.last_power_request.requested_at == records.moment(late)
    early = records.recover(asked, replace(DOMAIN, mark=replace(_mark(), last_power_request="2025-01-01T00:00:00Z")))
    assert early.last_power_request == asked.last_power_request
    kept = records.recover(STATUS, replace(DOMAIN, mark=replace(_mark(), run_count=1, addresses=())))
    assert kept.run_count == 3 and kept.networks == STATUS.networks


def test_m2_a_boot_disks_mark_always_has_room_for_its_instances() -> None:
    disk = DiskMark(
        installation="here",
        kind="Volume",
        namespace="team-a",
        name="web-1-root",
        uid=UUID,
        uuid=UUID,
        n=1,
        state=DiskState.READY,
    )
    features = tuple(f"feature-{n}" for n in range(400))
    cpu = GuestCPU(mode="Baseline", model="EPYC", features=features)
    big = replace(
        _mark(),
        hardware=Hardware(machine="pc-q35-7.2", firmware="BIOS", cpu=cpu).model_dump_json(by_alias=True),
        volumes=tuple((f"volume-{n}", UUID, f"{UUID}-1") for n in range(32)),
        addresses=tuple((f"nic-{n}", "02:00:00:00:00:01", ("10.91.0.60",)) for n in range(16)),
    )
    for owner in (_mark(), replace(big, volumes=(), addresses=()), big):
        mark = records.with_owner(disk, owner)
        assert len(encode(mark)) <= MAX_BYTES
        assert mark.owner is not None and (mark.owner.sequence, mark.owner.run_count) == (7, 3)
    assert records.with_owner(disk, _mark()).owner == _mark()
