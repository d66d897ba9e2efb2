"""The manifests of examples/ with a lab's own addresses and template checksum. Called by the demo and by tests."""

import re
import shutil
from pathlib import Path

from lab.errors import LabError
from lab.machines.plan import Plan

_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")


def render(examples: Path, target: Path, plan: Plan, checksum: str) -> Path:
    """Copy the YAML files of `examples` into `target` (emptied first), demo's addresses and checksum replaced.

    Idempotent. `checksum` is `sha256:…`. Only files that name the lab's template server get the checksum.
    """
    if not examples.is_dir():
        raise LabError(f"{examples}: there is no such folder of manifests")
    shutil.rmtree(target, ignore_errors=True)
    server = f"{plan.management_prefix}4/"
    for source in sorted(examples.rglob("*.yaml")):
        text = source.read_text().replace("10.90.0.", plan.management_prefix).replace("10.91.0.", plan.guest_prefix)
        # Objects are named after addresses with dashes: NetworkAddress lan.10-91-0-60.
        text = text.replace("10-91-0-", plan.guest_prefix.replace(".", "-"))
        if server in text:
            text = _CHECKSUM.sub(checksum, text)
        written = target / source.relative_to(examples)
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(text)
    return target
