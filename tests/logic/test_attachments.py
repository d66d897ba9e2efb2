"""D1: who may have a Volume."""

from dataclasses import replace

from controllers.logic.attachments import Claimant, Grant, grant
from crds.volume import Attachment

ONE = Claimant(name="one", uid="u1", hosts=("h1",), declared=True, attached=False, order=("1", "u1"))
TWO = Claimant(name="two", uid="u2", hosts=("h2",), declared=True, attached=False, order=("2", "u2"))


def held(claimant: Claimant, host: str = "h1") -> Attachment:
    return Attachment(instance=claimant.name, uid=claimant.uid, hosts=(host,))


def decide(
    *claimants: Claimant, current: tuple[Attachment, ...] = (), shareable: bool = False, known: bool = True
) -> Grant:
    return grant(current, claimants, shareable=shareable, known=known)


def who(decision: Grant) -> list[str]:
    return [a.instance for a in decision.attachments]


def test_d1_the_first_placed_gets_it_and_the_other_waits() -> None:
    decision = decide(TWO, ONE)
    assert (who(decision), decision.waiting) == (["one"], ("two",))
    assert decision.attachments[0].hosts == ("h1",)


def test_d1_who_has_it_keeps_it_though_another_was_placed_earlier() -> None:
    assert who(decide(ONE, TWO, current=(held(TWO, "h2"),))) == ["two"]


def test_d1_a_shareable_volume_goes_to_both() -> None:
    assert who(decide(ONE, TWO, shareable=True)) == ["one", "two"]


def test_d1_no_longer_declared_but_still_attached_keeps_it() -> None:
    leaving = replace(ONE, declared=False, attached=True)
    assert who(decide(leaving, TWO, current=(held(ONE),))) == ["one"]


def test_it_is_taken_away_once_the_machine_has_let_go() -> None:
    left = replace(ONE, declared=False, attached=False)
    assert who(decide(left, TWO, current=(held(ONE),))) == ["two"]


def test_an_instance_that_is_gone_holds_nothing() -> None:
    assert who(decide(TWO, current=(held(ONE),))) == ["two"]


def test_d1_nobody_new_gets_it_while_its_attachments_may_have_been_lost() -> None:
    decision = decide(ONE, known=False)
    assert (who(decision), decision.waiting) == ([], ("one",))


def test_d1_a_machine_that_was_seen_with_it_is_written_down_again() -> None:
    assert who(decide(replace(ONE, attached=True), TWO, known=False)) == ["one"]


def test_an_instance_without_a_host_waits_for_its_placement_without_being_named() -> None:
    decision = decide(replace(ONE, hosts=()))
    assert (who(decision), decision.waiting) == ([], ())


def test_a_new_placement_moves_the_attachment() -> None:
    decision = decide(replace(ONE, hosts=("h9",)), current=(held(ONE),))
    assert decision.attachments[0].hosts == ("h9",)
