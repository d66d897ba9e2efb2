"""kubectl as a person would type it, with its refusals as LabError. Called by lab.install and lab.demo."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import LabError, indent


@dataclass(frozen=True)
class Kubectl:
    """A kubectl program and the cluster it talks to. Every method blocks until kubectl ends."""

    program: Path
    kubeconfig: Path

    def run(self, *arguments: str, text: str | None = None, seconds: float = 120) -> str:
        """Its output; LabError with what it said when it fails or takes longer than `seconds`."""
        done = self.attempt(*arguments, text=text, seconds=seconds)
        if done.returncode:
            said = done.stderr.strip() or done.stdout.strip()
            raise LabError(f"kubectl {' '.join(arguments)} failed (KUBECONFIG={self.kubeconfig}):\n{indent(said)}")
        return done.stdout

    def attempt(
        self, *arguments: str, text: str | None = None, seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """As run(), but a refusal is an answer: the caller looks at returncode and stderr."""
        command = [str(self.program), *arguments]
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        try:
            return subprocess.run(
                command, input=text or "", capture_output=True, text=True, timeout=seconds, env=environment, check=False
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"kubectl {' '.join(arguments)} gave no answer within {seconds:.0f} s") from None

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        """The items of `kubectl get … -o json`."""
        items: list[dict[str, Any]] = json.loads(self.run("get", *arguments, "-o", "json"))["items"]
        return items
