"""Builds the control plane's programs from Go modules into a cache outside the checkout, only what is missing.

Run as `python -m lab.programs [--bench] [--helm]` by lab/bootstrap.sh, and asked by lab.controlplane.cluster
where the programs are. Standard library only. The cache's folder carries the hash of go.sum, so a new version is built
beside the old one and two checkouts share what is the same.
"""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError, indent

CONTROL_PLANE_MODULE = Path(__file__).resolve().parent / "controlplane"
HELM_MODULE = Path(__file__).resolve().parent / "helm"


@dataclass(frozen=True)
class Program:
    """One program to build: its package in the module, and how many packages it has at most to compile."""

    name: str
    package: str
    packages: int


CONTROL_PLANE = (
    Program("etcd", "go.etcd.io/etcd/server/v3", 562),
    Program("kubectl", "k8s.io/kubernetes/cmd/kubectl", 888),
    Program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", 1947),
    Program("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", 2323),
)
BENCH = (Program("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", 1384),)
HELM = (Program("helm", "helm.sh/helm/v3/cmd/helm", 964),)


def cache_root() -> Path:
    """Where everything that is built or downloaded is kept: $XDG_CACHE_HOME or ~/.cache, then stratiform."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "stratiform"


def binaries(module: Path = CONTROL_PLANE_MODULE) -> Path:
    """The cache folder of one Go module's programs; it need not exist yet."""
    digest = hashlib.sha256((module / "go.sum").read_bytes()).hexdigest()[:12]
    return cache_root() / f"{module.name}-{digest}"


def ensure(programs: Sequence[Program] = CONTROL_PLANE, module: Path = CONTROL_PLANE_MODULE) -> Path:
    """Build the programs that are missing and return their folder. Idempotent; two callers wait for each other.

    Blocks for minutes at first (downloads and about 8 minutes of compiling on two cores), milliseconds later.
    Raises LabError when Go is missing or a build fails.
    """
    folder = binaries(module)
    if all((folder / program.name).is_file() for program in programs):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [program for program in programs if not (folder / program.name).is_file()]
        if missing:
            go = find_go(module)
            _download(go, module)
            for number, program in enumerate(missing, 1):
                _build(go, module, folder, program, f"[{number}/{len(missing)}]")
    return folder


def find_go(module: Path) -> Path:
    """A Go that the module accepts: on the PATH, in /usr/local/go, or the one that bootstrap.sh put into the cache."""
    asked = re.search(r"^go (\d+)\.(\d+)", (module / "go.mod").read_text(), re.MULTILINE)
    minimum = (int(asked[1]), int(asked[2])) if asked else (1, 24)
    found = []
    on_path = shutil.which("go")
    candidates = [Path(on_path)] if on_path else []
    candidates += [Path("/usr/local/go/bin/go"), *sorted(cache_root().glob("go-*/go/bin/go"))]
    for candidate in candidates:
        version = _go_version(candidate)
        if version is not None:
            found.append(f"{candidate} is {version[0]}.{version[1]}")
            if version >= minimum:
                return candidate
    seen = "; ".join(found) or "none found"
    raise LabError(f"no Go {minimum[0]}.{minimum[1]} or newer ({seen}): run lab/bootstrap.sh, which brings one")


def _go_version(go: Path) -> tuple[int, int] | None:
    try:
        text = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, env=_environment()).stdout
    except OSError:
        return None
    match = re.match(r"go(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def _environment() -> dict[str, str]:
    """GOTOOLCHAIN=local: no other toolchain is fetched behind our back. The user's GOFLAGS would change the build."""
    return {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "GOWORK": "off", "CGO_ENABLED": "0"}


def _download(go: Path, module: Path) -> None:
    _run([str(go), "mod", "download"], module, f"{module.name}: downloading Go modules", expected=None)


def _build(go: Path, module: Path, folder: Path, program: Program, counter: str) -> None:
    partial = folder / f".{program.name}.partial"
    command = [
        str(go),
        "build",
        "-v",
        "-trimpath",
        "-ldflags",
        _link_flags(module),
        "-o",
        str(partial),
        program.package,
    ]
    _run(command, module, f"{counter} building {program.name}", expected=program.packages)
    partial.replace(folder / program.name)


def _link_flags(module: Path) -> str:
    """Versions that Kubernetes' programs tell of themselves; helm takes a cluster's version from them too."""
    text = (module / "go.mod").read_text()
    if match := re.search(r"k8s\.io/kubernetes (v1\.(\d+)\.\d+)", text):
        variables = {"gitVersion": match[1], "gitMajor": "1", "gitMinor": match[2], "gitTreeState": "clean"}
        packages = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"]
    else:
        variables = {"k8sVersionMajor": "1", "k8sVersionMinor": "34"}
        packages = ["helm.sh/helm/v3/pkg/chartutil", "helm.sh/helm/v3/pkg/lint/rules"]
    return "-s -w " + " ".join(
        f"-X {package}.{name}={value}" for package in packages for name, value in variables.items()
    )


def _run(command: list[str], module: Path, title: str, expected: int | None) -> None:
    """Run a Go command, showing how many packages it compiled (`go build -v` names each on stderr) and for how long."""
    begun = time.monotonic()
    shown = 0.0
    lines: list[str] = []
    with subprocess.Popen(
        command, cwd=module, env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line.rstrip())
            now = time.monotonic()
            if now - shown > (1 if sys.stderr.isatty() else 20):
                shown = now
                _show(title, len(lines), expected, now - begun)
    seconds = time.monotonic() - begun
    if process.returncode:
        raise LabError(
            f"{title} failed after {seconds:.0f} s ({' '.join(command)}):\n{indent(chr(10).join(lines[-15:]))}"
        )
    end = "\r\033[K" if sys.stderr.isatty() else ""
    print(f"{end}{title}: done in {seconds:.0f} s", file=sys.stderr, flush=True)


def _show(title: str, count: int, expected: int | None, seconds: float) -> None:
    progress = f"{count} of at most {max(expected, count)} packages, " if expected else ""
    text = f"{title}: {progress}{seconds:.0f} s"
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Build what the options name. Prints progress on stderr and the folder on stdout."""
    parser = argparse.ArgumentParser(prog="python -m lab.programs", description=__doc__)
    parser.add_argument("--bench", action="store_true", help="also kube-scheduler, which only make bench needs")
    parser.add_argument("--helm", action="store_true", help="only helm, which only make check needs")
    parser.add_argument("--kubectl", action="store_true", help="only kubectl, for a cluster that is there already")
    parser.add_argument("--missing", action="store_true", help="build nothing; exit 0 when something is missing")
    parser.add_argument("--find-go", action="store_true", help="build nothing; print the Go that would be used")
    options = parser.parse_args()
    module = HELM_MODULE if options.helm else CONTROL_PLANE_MODULE
    programs = HELM if options.helm else CONTROL_PLANE + (BENCH if options.bench else ())
    if options.kubectl:
        programs = tuple(program for program in CONTROL_PLANE if program.name == "kubectl")
    if options.missing:
        return int(all((binaries(module) / program.name).is_file() for program in programs))
    try:
        print(find_go(module) if options.find_go else ensure(programs, module))
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
