"""The committed files are what the models say, and the check says what to do when they are not."""

import json
from pathlib import Path

import pytest
import yaml

import crds.__main__ as command
from crds.kinds import KINDS
from crds.schema import custom_resource_definition


def test_the_committed_files_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--check"]) == 0, capsys.readouterr().out


def test_a_stale_file_is_shown_as_a_diff_with_the_command_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "GENERATED", tmp_path / "crds" / "generated")
    monkeypatch.setattr(command, "CHART", tmp_path / "chart")
    assert command.main(["--write"]) == 0
    assert command.main(["--check"]) == 0
    (tmp_path / "crds" / "generated" / "zones.yaml").write_text("kind: Old\n")
    (tmp_path / "crds" / "generated" / "things.yaml").write_text("kind: Thing\n")
    assert command.main(["--check"]) == 1
    said = capsys.readouterr()
    assert "-kind: Old" in said.out
    assert "+kind: CustomResourceDefinition" in said.out
    assert "-kind: Thing" in said.out
    assert "python -m crds --write" in said.err


def test_one_file_per_kind_is_written_where_one_asks(tmp_path: Path) -> None:
    assert command.main(["--output", str(tmp_path), "--namespace", "elsewhere"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"{kind.plural}.yaml" for kind in KINDS.values()} | {
        "policies.yaml"
    }
    assert "system:serviceaccounts:elsewhere" in (tmp_path / "policies.yaml").read_text()


def test_all_of_it_goes_to_the_standard_output_as_one_stream(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    kinds = [document["kind"] for document in yaml.safe_load_all(capsys.readouterr().out)]
    assert kinds.count("CustomResourceDefinition") == len(KINDS)
    assert kinds.count("ValidatingAdmissionPolicy") == kinds.count("ValidatingAdmissionPolicyBinding") == 6


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.kind)
def test_a_crd_is_small_enough_for_a_client_side_apply(kind: object) -> None:
    """The annotation that `kubectl apply` keeps holds at most 256 KiB."""
    assert len(json.dumps(custom_resource_definition(kind))) < 200_000  # type: ignore[arg-type]
