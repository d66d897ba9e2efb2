"""Debian packages that are downloaded and unpacked, never installed. Called by `template.py`."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from lab.commands import run
from lab.errors import LabError


@dataclass(frozen=True)
class Package:
    """A package as apt would fetch it now."""

    name: str
    file_name: str
    digest: str


def dependency(package: str, pattern: str) -> str:
    """The dependency of `package` that matches: how a meta package names the kernel of the day."""
    for line in run(["apt-cache", "depends", package], env=_english()).splitlines():
        found = re.fullmatch(rf"\s*Depends: ({pattern})", line)
        if found:
            return found[1]
    raise LabError(f"package {package} is not known to apt; run `apt-get update` and try again")


def resolve(names: list[str]) -> list[Package]:
    """The versions apt would fetch now. Reads apt's lists only; LabError when a package is unknown."""
    packages = []
    for line in run(["apt-get", "download", "--print-uris", *names], env=_english()).splitlines():
        found = re.fullmatch(r"'[^']*' (\S+) \d+ (\S+)", line.strip())
        if found:
            packages.append(Package(found[1].partition("_")[0], found[1], found[2]))
    missing = set(names) - {package.name for package in packages}
    if missing:
        raise LabError(f"apt does not know {', '.join(sorted(missing))}; run `apt-get update` and try again")
    return sorted(packages, key=lambda package: package.name)


def unpack(packages: list[Package], store: Path, target: Path) -> None:
    """Download what is not in `store` yet and unpack all into `target`. Blocks; needs no root."""
    store.mkdir(parents=True, exist_ok=True)
    missing = [package.name for package in packages if not (store / package.file_name).exists()]
    if missing:
        draft = store / "partial"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *missing], cwd=draft)
        for file in draft.iterdir():
            file.rename(store / file.name)
        draft.rmdir()
    for package in packages:
        run(["dpkg-deb", "-x", str(store / package.file_name), str(target)])


def _english() -> dict[str, str]:
    """Words of apt's answers are read here, whatever language its user speaks."""
    return {**os.environ, "LC_ALL": "C.UTF-8"}
