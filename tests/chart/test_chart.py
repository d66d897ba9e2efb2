"""The chart: linted, its values checked, and all that it writes accepted by the real API server."""

import subprocess
from pathlib import Path

import pytest
import yaml

from lab import programs
from lab.controlplane import ControlPlane
from lab.kubectl import Kubectl

CHART = Path(__file__).parents[2] / "charts" / "stratiform"


def helm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = programs.ensure(programs.HELM, programs.HELM_MODULE) / "helm"
    return subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)


def written(*arguments: str) -> str:
    done = helm("template", "stratiform", str(CHART), "--namespace=stratiform-system", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(*arguments: str) -> list[dict[str, object]]:
    return [m for m in yaml.safe_load_all(written(*arguments)) if m]


def test_it_is_linted() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


def test_the_api_server_accepts_all_of_it(plane: ControlPlane) -> None:
    kubectl = Kubectl(plane.kubectl, plane.kubeconfig)
    text = written("--include-crds", "--set=installation.takeOver={a,b}", "--set-string=image.tag=1")
    said = kubectl.run("apply", "--dry-run=server", "--server-side", "--force-conflicts", "-f", "-", text=text)
    assert len(said.splitlines()) == len([m for m in yaml.safe_load_all(text) if m])
    assert all(line.endswith("serverside-applied (server dry run)") for line in said.splitlines())


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ("replicas=9", "replicas"),
        ("log.format=xml", "format"),
        ("image.repository=", "repository"),
        ("instalation.id=x", "instalation"),
        ("extraArguments={no-dashes}", "extraArguments"),
    ],
)
def test_a_mistyped_value_is_refused_with_its_name(values: str, field: str) -> None:
    done = helm("template", "stratiform", str(CHART), f"--set={values}")
    assert done.returncode != 0
    assert field in done.stderr


def test_every_argument_that_it_gives_is_one_that_the_operator_takes() -> None:
    from controllers import config

    pod = next(m for m in rendered("--set=installation.id=i,installation.takeOver={a}") if m["kind"] == "Deployment")
    arguments = pod["spec"]["template"]["spec"]["containers"][0]["args"]  # type: ignore[index]
    settings = config.read(arguments, {})
    assert (settings.installation, settings.take_over, settings.bind) == ("i", ("a",), "0.0.0.0")


def test_uninstalling_leaves_the_region_and_the_kinds() -> None:
    region = next(m for m in rendered() if m["kind"] == "Region")
    assert region["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"  # type: ignore[index]
    assert not [m for m in rendered() if m["kind"] == "CustomResourceDefinition"]
