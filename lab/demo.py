"""What `make demo` does: a cloud on this machine, from nothing to an instance that answers. Called by lab.__main__.

Safe to repeat: every step finds what an earlier run left. With KUBECONFIG set to a cluster that somebody has, that one
gets the kinds and the operator runs against it; the hosts are the lab's all the same.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import guests, install, progress
from lab.controlplane import ControlPlane
from lab.errors import indent
from lab.kubectl import Kubectl
from lab.layout import Layout
from lab.machines import Machines, render
from lab.operator import CHECKOUT, Operator
from lab.together import together

READY_SECONDS = 600.0


@dataclass(frozen=True)
class Target:
    """The cluster that the demo runs on."""

    kubectl: Kubectl
    operator_kubeconfig: Path
    plane: ControlPlane | None  # None: somebody's own cluster, never started, stopped or killed by us.


def run(name: str) -> None:
    """Bring everything up and wait until every object of examples/ is Ready. LabError says which is not, and why."""
    begun = time.monotonic()
    plane = ControlPlane(name)
    machines = Machines(name)
    target = target_of(plane)
    if target.plane is None:
        print(f"KUBECONFIG is set: using the cluster of {target.kubectl.kubeconfig}; unset it for one of the lab's own")
    kubectl = target.kubectl
    with _step("starting the control plane, three libvirt hosts, storage and network"):
        together(lambda: machines.up(_say), lambda: _install(target))
        install.client_certificate(kubectl, machines.pki_dir)
    operator = Operator(plane.layout, target.operator_kubeconfig)
    with _step("starting the operator"):
        operator.start_current()
    with _step("applying examples/"):
        folder = render(
            CHECKOUT / "examples", plane.layout.state / "examples", machines.plan, machines.template_checksum
        )
        _apply(kubectl, folder)
    with _step("waiting until everything is Ready"):
        progress.await_ready(kubectl, operator, progress.names(kubectl, folder), READY_SECONDS)
    _look_around(kubectl, plane.layout)
    _what_next(target, operator, time.monotonic() - begun)


def _install(target: Target) -> None:
    if target.plane:
        target.plane.up()
        _say("the control plane is ready")
    target.kubectl.run("version", seconds=30)
    install.kinds(target.kubectl)
    install.rights(target.kubectl)
    _say("kinds, policies and rights are installed")


def own_kubeconfig(layout: Layout) -> bool:
    """Whether KUBECONFIG, when it is set at all, is the lab's own: the demo told its reader to set it."""
    given = os.environ.get("KUBECONFIG")
    return not given or Path(given) == layout.kubeconfig


def operator_kubeconfig(layout: Layout) -> Path:
    """With which the lab's operator runs."""
    return layout.operator_kubeconfig if own_kubeconfig(layout) else Path(os.environ["KUBECONFIG"])


def target_of(plane: ControlPlane) -> Target:
    """The lab's own cluster, or the one that KUBECONFIG names."""
    own = own_kubeconfig(plane.layout)
    kubeconfig = plane.kubeconfig if own else Path(os.environ["KUBECONFIG"])
    return Target(Kubectl(plane.kubectl, kubeconfig), operator_kubeconfig(plane.layout), plane if own else None)


def _apply(kubectl: Kubectl, folder: Path) -> None:
    """Namespaces may come after what lies in them, so a second round takes what the first could not."""
    first = kubectl.attempt("apply", "-f", str(folder))
    said = first.stdout if first.returncode == 0 else kubectl.run("apply", "-f", str(folder))
    changed = [line for line in said.splitlines() if not line.endswith(" unchanged")]
    _say(f"{len(said.splitlines())} objects, {len(changed)} of them new or changed")


def _look_around(kubectl: Kubectl, layout: Layout) -> None:
    print(kubectl.run("get", "regions,zones,hostpods,hostclusters,hosts,storagepools,imagestores"))
    print(kubectl.run("get", "templates,networks,volumes,instances", "-A"))
    for instance in kubectl.objects("instances", "-A"):
        namespace, name = instance["metadata"]["namespace"], instance["metadata"]["name"]
        address = instance.get("status", {}).get("primaryAddress")
        if not address:
            continue
        answer = guests.answer(address)
        print(f"The console of {namespace}/{name} ends with:")
        print(indent(guests.console_tail(layout.logs, instance["status"]["uuid"])))
        print(f"$ curl http://{address}/\n{indent(answer)}")


def _what_next(target: Target, operator: Operator, seconds: float) -> None:
    name = operator.layout.name
    lab = ".venv/bin/python -m lab" + ("" if name == "demo" else f" --name {name}")
    end = "make down" if name == "demo" else f"{lab} down"
    hints = (
        ("kubectl get stratiform -A", "all of it"),
        ("kubectl get instances -A -o wide", "the guests"),
        ("kubectl explain instance.spec", "what may be asked for"),
        (f"{lab} console team-a web-1", "the guest's serial console; --attach: type into it"),
        (f"{lab} kill node-1", "a host's sudden death; revive brings it back"),
        (f"{lab} --help", "more to break and mend"),
        (end, "the end of it"),
    )
    width = max(len(command) for command, _ in hints)
    lines = "\n".join(f"    {command:<{width}}  # {text}" for command, text in hints)
    print(f"""
Everything is Ready after {seconds:.0f} s. Now try:

    export KUBECONFIG={target.kubectl.kubeconfig} PATH={target.kubectl.program.parent}:$PATH
{lines}

The operator's log: {operator.process.log}
Its metrics: {operator.metrics_url}""")


@contextmanager
def _step(title: str) -> Iterator[None]:
    """Print what is done and how long it took; an error of it is raised as it is."""
    begun = time.monotonic()
    print(f"==> {title}", flush=True)
    yield
    print(f"    done in {time.monotonic() - begun:.1f} s", flush=True)


def _say(text: str) -> None:
    print(f"    {text}", flush=True)
