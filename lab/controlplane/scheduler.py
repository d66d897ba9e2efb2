"""kube-scheduler of a lab's control plane, which the lab itself does not need: `make bench` compares placement with it.

It keeps its default profile. Raised is what its client may send a second (default: 50), which would be all that is
measured; leader election is off, since nobody else would lead.
"""

import json

from lab import programs
from lab.controlplane.cluster import ControlPlane
from lab.processes import Process

QUERIES = 5000
"""A second, and in one burst: more than the API server of any lab takes."""


class KubeScheduler:
    """One lab's. Its control plane must be up; end this one first."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.process = Process(
            "kube-scheduler", plane.folder / "kube-scheduler.pid", plane.layout.logs / "kube-scheduler.log"
        )

    def build(self) -> None:
        """Idempotent; a minute at first."""
        programs.ensure(programs.BENCH)

    def start(self) -> None:
        """Does not wait until it is ready: being that is part of what is measured. Idempotent."""
        config = {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "clientConnection": {
                "kubeconfig": str(self._plane.certificates / "scheduler.kubeconfig"), "qps": QUERIES, "burst": QUERIES,
            },
            "leaderElection": {"leaderElect": False},
            "enableProfiling": False,
        }  # fmt: skip
        path = self._plane.folder / "kube-scheduler.json"
        path.write_text(json.dumps(config, indent=1) + "\n")
        # Without a port: nobody asks for its metrics.
        self.process.start([str(programs.binaries() / "kube-scheduler"), f"--config={path}", "--secure-port=0"])

    def end(self) -> None:
        """Kill it, and remove its log. Idempotent."""
        self.process.kill()
        self.process.log.unlink(missing_ok=True)
