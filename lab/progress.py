"""Watches a cloud become Ready and tells each change once, in a line. Called by lab.demo."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import LabError, indent, tail
from lab.kubectl import Kubectl
from lab.operator import Operator

KINDS = (
    "regions,zones,hostpods,hostclusters,hosts,storagepools,imagestores,instancetypes,volumetypes,"
    "templates,networks,networkaddresses,volumes,instances"
)
POLL_SECONDS = 1.5


@dataclass(frozen=True)
class View:
    """What a person wants to know of an object while it comes up."""

    name: str
    ready: str
    reason: str
    message: str
    state: str
    current: bool

    @property
    def line(self) -> str:
        """One line, without the message, which may change often."""
        return f"{self.name:<40} {self.state:<14} Ready={self.ready} {self.reason}"


def view(item: dict[str, Any]) -> View:
    """What an object's status says of it."""
    metadata, status = item["metadata"], item.get("status", {})
    conditions = [c for c in status.get("conditions", []) if c["type"] == "Ready"]
    ready = conditions[0] if conditions else {"status": "Unknown", "reason": "", "message": ""}
    place = f"{metadata['namespace']}/" if "namespace" in metadata else ""
    percent = status.get("percent")
    state = str(status.get("state") or "") + (f" {percent}%" if percent and percent < 100 else "")
    current = status.get("observedGeneration", 0) == metadata.get("generation", 0)
    name = f"{item['kind']} {place}{metadata['name']}"
    return View(name, ready["status"], ready["reason"], ready.get("message", ""), state, current)


def names(kubectl: Kubectl, folder: Path) -> set[str]:
    """The objects of ours that a folder of manifests asks for, as View.name has them."""
    items = kubectl.objects("-f", str(folder))
    return {view(item).name for item in items if item["apiVersion"].startswith("stratiform.dev/")}


def await_ready(kubectl: Kubectl, operator: Operator, wanted: set[str], seconds: float) -> None:
    """Block until the wanted objects are Ready as last applied, printing all changes; LabError says which are not."""
    begun = time.monotonic()
    shown: dict[str, str] = {}
    while True:
        views = [view(item) for item in kubectl.objects(KINDS, "-A")]
        now = time.monotonic() - begun
        for each in views:
            if shown.get(each.name) != each.line:
                shown[each.name] = each.line
                print(f"    {now:5.1f} s  {each.line}", flush=True)
        waiting = [each for each in views if each.name in wanted and (each.ready != "True" or not each.current)]
        if not waiting:
            return
        if operator.process.pid() is None:
            raise LabError.with_log("the operator ended", operator.process.log)
        if now > seconds:
            lines = "\n".join(f"{each.name}: {each.reason}: {each.message}" for each in waiting)
            log = operator.process.log
            raise LabError(
                f"not Ready after {seconds:.0f} s:\n{indent(lines)}\n  last lines of {log}:\n{indent(tail(log))}"
            )
        time.sleep(POLL_SECONDS)
