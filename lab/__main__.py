"""`python -m lab`: the lab's command line. Every command works on one lab, named by --name (default: demo).

Thin: what it does is in lab.controlplane, lab.machines, lab.operator and lab.demo.
"""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lab import demo, guests
from lab.controlplane import ControlPlane
from lab.errors import LabError
from lab.layout import ROOT, known_labs, open_layout
from lab.machines import Machines, render
from lab.operator import CHECKOUT, Operator
from lab.together import together

PROCESSES = ("apiserver", "etcd", "controller-manager", "operator")


def main() -> int:
    """Run one command. Returns the exit code; a LabError is printed without a traceback."""
    options = _parser().parse_args()
    try:
        return int(options.run(options) or 0)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab", description="A private cloud's machines on this machine.")
    parser.add_argument("--name", default="demo", help="which lab (default: demo)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    up = command("up", _up, "start what is not up: control plane, libvirt hosts, storage and template servers")
    up.add_argument("--hosts", type=int, help="how many libvirt hosts (default: as before, else 3)")
    up.add_argument("--fsync", action="store_true", help="let etcd write through to the disk")
    up.add_argument("--no-control-plane", action="store_true", help="the machines only")
    command("down", _down, "end all of it and remove its files")
    command("status", _status, "what runs and what does not")
    command("list", _list, "the labs on this machine")
    for name, run, text in (
        ("kill", _kill, "sudden death of a machine, or of " + ", ".join(PROCESSES)),
        ("revive", _revive, "start it again, with the same disks"),
        ("freeze", _freeze, "SIGSTOP a host's libvirtd, or one of the processes"),
        ("thaw", _thaw, "the end of freeze"),
    ):
        sub = command(name, run, text)
        sub.add_argument("target", help="a machine (see status) or " + ", ".join(PROCESSES))
        if name == "kill":
            sub.add_argument("--silent", action="store_true", help="no peer hears of it: the cables go first")
            sub.add_argument("--libvirtd", action="store_true", help="only the host's libvirtd; its guests run on")
    for name, run, text in (
        ("cut", _cut, "pull a machine's management cable"),
        ("mend", _mend, "plug it in again"),
    ):
        command(name, run, text).add_argument("target", help="a machine (see status)")
    shell = command("shell", _shell, "a shell in a machine, or one command there")
    shell.add_argument("target", help="a machine (see status)")
    shell.add_argument("words", nargs=argparse.REMAINDER, help="the command; none: a shell")
    kubectl = command("kubectl", _kubectl, "kubectl for this lab's control plane")
    kubectl.add_argument("words", nargs=argparse.REMAINDER)
    console = command("console", _console, "the end of a guest's serial console")
    console.add_argument("namespace")
    console.add_argument("instance")
    console.add_argument("--attach", action="store_true", help="type into it (virsh console)")
    console.add_argument("--lines", type=int, default=40)
    rendered = command("render", _render, "manifests with this lab's addresses; prints where they are")
    rendered.add_argument("folder", type=Path, nargs="?", default=CHECKOUT / "examples")
    rendered.add_argument("--to", type=Path, help="where to (default: in the lab's folder)")
    command("demo", _demo, "all of it, up to an instance that answers; with KUBECONFIG set, on that cluster")
    return parser


def _up(options: argparse.Namespace) -> None:
    machines = Machines(options.name, hosts=options.hosts)
    planes = [] if options.no_control_plane else [ControlPlane(options.name, fsync=options.fsync)]
    together(lambda: machines.up(print), *(plane.up for plane in planes))
    for plane in planes:
        print(f"export KUBECONFIG={plane.kubeconfig} PATH={plane.kubectl.parent}:$PATH")


def _down(options: argparse.Namespace) -> None:
    if not (ROOT / options.name).exists():
        print(f"lab {options.name}: not there")
        return
    begun = time.monotonic()
    plane = ControlPlane(options.name)
    Operator(plane.layout, plane.operator_kubeconfig).kill()
    Machines(options.name).down()
    plane.down()
    for folder in ("examples", "operator", "logs"):
        shutil.rmtree(plane.layout.state / folder, ignore_errors=True)
    plane.layout.release()
    print(f"lab {options.name}: gone after {time.monotonic() - begun:.1f} s")


def _status(options: argparse.Namespace) -> int:
    if not (ROOT / options.name).exists():
        print(f"lab {options.name}: not there")
        return 1
    plane = ControlPlane(options.name)
    operator = Operator(plane.layout, plane.operator_kubeconfig).process
    # A demo on somebody's own cluster has no control plane here, and a lab without a demo no operator.
    processes = [p for p in (*plane.processes(), operator) if p.pid_file.exists() or p.log.exists()]
    lines = [(p.name, "process", "", p.pid(), "frozen" if p.frozen() else "" if p.pid() else "off") for p in processes]
    machines = Machines(options.name)
    if (machines.state_dir / "machines").exists():
        lines += [(m.name, m.role, m.address, m.pid, m.problem or "") for m in machines.status()]
    print(f"lab {options.name}: API server {plane.url}, KUBECONFIG={plane.kubeconfig}")
    print(f"{'NAME':<24} {'ROLE':<16} {'ADDRESS':<16} {'PID':<8} PROBLEM")
    for name, role, address, pid, problem in lines:
        print(f"{name:<24} {role:<16} {address:<16} {pid or '':<8} {problem}".rstrip())
    return int(any(line[4] for line in lines))


def _list(options: argparse.Namespace) -> None:
    for name in known_labs():
        layout = open_layout(name)
        print(f"{name}  management {layout.management}  guests {layout.wire}  https://127.0.0.1:{layout.api_port}")


def _process(options: argparse.Namespace) -> Callable[[str], None] | None:
    """What carries out a verb on a process of this name; None when the target is no process but a machine."""
    if options.target not in PROCESSES:
        return None
    plane = ControlPlane(options.name)
    operator = Operator(plane.layout, demo.operator_kubeconfig(plane.layout))
    handles = {
        "apiserver": (plane.apiserver, plane.start_apiserver),
        "etcd": (plane.etcd, plane.start_etcd),
        "controller-manager": (plane.controller_manager, plane.start_controller_manager),
        "operator": (operator.process, operator.start),
    }
    process, revive = handles[options.target]
    verbs = {"kill": process.kill, "revive": revive, "freeze": process.freeze, "thaw": process.thaw}
    return lambda verb: verbs[verb]()


def _kill(options: argparse.Namespace) -> None:
    if process := _process(options):
        process("kill")
    elif options.libvirtd:
        Machines(options.name).host(options.target).kill_libvirtd()
    else:
        Machines(options.name).machine(options.target).kill(silent=options.silent)


def _revive(options: argparse.Namespace) -> None:
    if process := _process(options):
        process("revive")
        return
    machines = Machines(options.name)
    machine = machines.machine(options.target)
    machine.revive()
    if machine in machines.hosts:
        machines.host(options.target).start_libvirtd()


def _freeze(options: argparse.Namespace) -> None:
    if process := _process(options):
        process("freeze")
    else:
        Machines(options.name).host(options.target).freeze_libvirtd()


def _thaw(options: argparse.Namespace) -> None:
    if process := _process(options):
        process("thaw")
    else:
        Machines(options.name).host(options.target).thaw_libvirtd()


def _cut(options: argparse.Namespace) -> None:
    Machines(options.name).machine(options.target).cut()


def _mend(options: argparse.Namespace) -> None:
    Machines(options.name).machine(options.target).mend()


def _shell(options: argparse.Namespace) -> int:
    return Machines(options.name).machine(options.target).shell(options.words)


def _kubectl(options: argparse.Namespace) -> int:
    plane = ControlPlane(options.name)
    command = [str(plane.kubectl), f"--kubeconfig={plane.kubeconfig}", *options.words]
    return subprocess.run(command, check=False).returncode


def _console(options: argparse.Namespace) -> int:
    plane = ControlPlane(options.name)
    target = demo.target_of(plane)
    words = ("instance", "-n", options.namespace, options.instance)
    uuid, _, host = target.kubectl.run("get", *words, "-o", "jsonpath={.status.uuid} {.status.hostRef.name}").partition(
        " "
    )
    if options.attach:
        print("Leave the console with Ctrl-].")
        return Machines(options.name).host(host).shell(["virsh", "console", uuid])
    print(guests.console_tail(plane.layout.logs, uuid, options.lines))
    return 0


def _render(options: argparse.Namespace) -> None:
    machines = Machines(options.name)
    target = options.to or machines.state_dir / "examples"
    print(render(options.folder, target, machines.plan, machines.template_checksum))


def _demo(options: argparse.Namespace) -> None:
    demo.run(options.name)


if __name__ == "__main__":
    sys.exit(main())
