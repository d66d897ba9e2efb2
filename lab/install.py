"""Puts Stratiform into a cluster the way its chart does, less the pod: kinds, policies, rights, namespace, credentials.

Called by lab.demo and by test fixtures. Every function is idempotent, blocks until it is done, and raises LabError with
what kubectl said.
"""

import base64
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lab import programs
from lab.controlplane.pki import OPERATOR_NAMESPACE
from lab.errors import LabError, indent
from lab.kubectl import Kubectl
from lab.operator import CHECKOUT

POLICY_SECONDS = 60.0
CREDENTIAL_LABEL = "stratiform.dev/credential"
RIGHTS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


def kinds(kubectl: Kubectl) -> None:
    """Apply what `python -m crds` writes, and wait until every kind is served and the policies refuse."""
    manifests = _output([sys.executable, "-m", "crds"])
    kubectl.run(
        "apply", "--server-side", "--force-conflicts", "--field-manager=stratiform-install", "-f", "-", text=manifests
    )
    names = kubectl.run("get", "customresourcedefinitions", "-o", "name").split()
    ours = [name for name in names if name.endswith(".stratiform.dev")]
    kubectl.run("wait", "--for=condition=Established", "--timeout=60s", *ours)
    _await_policies(kubectl, ours[0])


def rights(kubectl: Kubectl) -> None:
    """Make the operator's namespace, its service account and its RBAC, as the chart writes them."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR_NAMESPACE}}
    apply(kubectl, [namespace])
    helm = programs.ensure(programs.HELM, programs.HELM_MODULE) / "helm"
    chart = CHECKOUT / "charts" / "stratiform"
    command = [str(helm), "template", "stratiform", str(chart), f"--namespace={OPERATOR_NAMESPACE}"]
    rendered = _output(command)
    wanted = [part for part in rendered.split("\n---") if any(f"\nkind: {kind}\n" in f"\n{part}\n" for kind in RIGHTS)]
    if not wanted:
        raise LabError(f"{chart} writes no {', '.join(RIGHTS)}: the operator would have no rights")
    kubectl.run("apply", "-n", OPERATOR_NAMESPACE, "-f", "-", text="\n---\n".join(wanted))


def client_certificate(kubectl: Kubectl, folder: Path, name: str = "libvirt-client") -> None:
    """Make the Secret with which the operator opens the lab's hosts, from a flat PKI folder as libvirt has it."""
    files = {"ca.crt": "cacert.pem", "tls.crt": "clientcert.pem", "tls.key": "clientkey.pem"}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": OPERATOR_NAMESPACE, "labels": {CREDENTIAL_LABEL: "true"}},
        "data": {key: base64.b64encode((folder / file).read_bytes()).decode() for key, file in files.items()},
    }
    apply(kubectl, [secret])


def apply(kubectl: Kubectl, objects: list[dict[str, Any]]) -> str:
    """kubectl apply of objects; returns what it printed."""
    return kubectl.run("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def _await_policies(kubectl: Kubectl, definition: str) -> None:
    """A new policy takes effect after a moment: ask for what it must refuse until it does."""
    deadline = time.monotonic() + POLICY_SECONDS
    while True:
        answer = kubectl.attempt("delete", definition, "--dry-run=server")
        if answer.returncode and "ValidatingAdmissionPolicy" in answer.stderr:
            return
        if time.monotonic() > deadline:
            said = (answer.stderr or answer.stdout).strip()
            raise LabError(f"the policy that guards {definition} does not refuse after {POLICY_SECONDS:.0f} s: {said}")
        time.sleep(0.2)


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(command)} failed:\n{indent(done.stderr.strip())}")
    return done.stdout
