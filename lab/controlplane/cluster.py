"""A named lab's control plane as processes: up, down, and the faults that tests ask for.

Called by lab.__main__, lab.demo and the fixtures of tests/conftest.py. Everything is found again by pid files and
ports, so that one program may start it and another stop it.
"""

import http.client
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import programs
from lab.controlplane import pki
from lab.errors import LabError
from lab.layout import locked, open_layout
from lab.processes import Process

READY_SECONDS = 120.0
STOP_SECONDS = 2.0  # Watches never end by themselves, so a longer wait only costs time.


class ControlPlane:
    """etcd, API server and controller manager of one lab.

    Every method is idempotent, blocks until it is done, and raises LabError with the tail of the log that tells why it
    could not be done.
    """

    def __init__(self, name: str, *, fsync: bool = False) -> None:
        """`fsync`: etcd writes through to the disk, which tests that kill etcd need and others pay for."""
        self.layout = open_layout(name)
        self.fsync = fsync
        self.folder = self.layout.state / "controlplane"
        self.certificates = self.folder / "pki"
        self.etcd = self._process("etcd")
        self.apiserver = self._process("kube-apiserver")
        self.controller_manager = self._process("kube-controller-manager")

    @property
    def name(self) -> str:
        return self.layout.name

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.layout.api_port}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.layout.kubeconfig

    @property
    def operator_kubeconfig(self) -> Path:
        """Of system:serviceaccount:stratiform-system:stratiform; it may do what RBAC lets that account do."""
        return self.layout.operator_kubeconfig

    @property
    def kubectl(self) -> Path:
        """The program, of the API server's own version."""
        return programs.binaries() / "kubectl"

    def up(self) -> None:
        """Start what does not run and wait until the API server is ready.

        2 to 4 s with everything built, 0.1 s when it runs already. Objects of an earlier run are kept unless down()
        came between.
        """
        programs.ensure()
        with self._locked():
            if not (self.certificates / "server.crt").is_file():
                pki.write_all(self.certificates, self.url, self.kubeconfig, self.operator_kubeconfig)
            self._start_etcd()
            self._start_apiserver()
            self._wait("kube-apiserver", self.apiserver, self.ready)
            self._start_controller_manager()

    def down(self) -> None:
        """Kill the processes and remove all that up() made, objects included. Takes 0.1 s."""
        with self._locked():
            for process in self.processes():
                process.kill()
            for path in (self.folder, self.kubeconfig, self.operator_kubeconfig, *(p.log for p in self.processes())):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        self.layout.release()

    def running(self) -> dict[str, int | None]:
        """The pid of each process by its name, None for one that does not run."""
        return {process.name: process.pid() for process in self.processes()}

    def processes(self) -> tuple[Process, Process, Process]:
        """Its three processes, in the order in which they are ended."""
        return (self.controller_manager, self.apiserver, self.etcd)

    def ready(self) -> bool:
        """Whether the API server answers /readyz with 200 now. Blocks for at most 3 s."""
        context = ssl.create_default_context(cafile=str(self.certificates / "ca.crt"))
        context.load_cert_chain(self.certificates / "admin.crt", self.certificates / "admin.key")
        connection = http.client.HTTPSConnection("127.0.0.1", self.layout.api_port, timeout=3, context=context)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def start_apiserver(self) -> None:
        """Start the API server again and wait until it is ready."""
        self._start_apiserver()
        self._wait("kube-apiserver", self.apiserver, self.ready)
        self._start_controller_manager()

    def stop_apiserver(self) -> None:
        """End the API server in an orderly way; etcd keeps its objects."""
        self.apiserver.stop(STOP_SECONDS)

    def kill_apiserver(self) -> None:
        """Kill the API server: connections are reset, etcd keeps its objects."""
        self.apiserver.kill()

    def outage(self, seconds: float) -> None:
        """Kill the API server, leave it away for so long, and start it again. Blocks for all of it."""
        self.kill_apiserver()
        time.sleep(seconds)
        self.start_apiserver()

    def kill_etcd(self) -> None:
        """Kill etcd. Without `fsync` its last writes may be gone after a crash of the machine, not of the process."""
        self.etcd.kill()

    def start_etcd(self) -> None:
        """Start etcd again and wait until the API server is ready with it."""
        self._start_etcd()
        self._wait("etcd", self.etcd, self.ready)

    def kill_controller_manager(self) -> None:
        """Kill the controller manager: garbage collection and the end of namespaces stand still."""
        self.controller_manager.kill()

    def start_controller_manager(self) -> None:
        """Start the controller manager again."""
        self._start_controller_manager()

    def _process(self, name: str) -> Process:
        return Process(name, self.folder / f"{name}.pid", self.layout.logs / f"{name}.log")

    def _start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.layout.etcd_port, self.layout.etcd_peer_port))
        self.etcd.start(
            [
                str(programs.binaries() / "etcd"),
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                f"--unsafe-no-fsync={'false' if self.fsync else 'true'}",
                "--quota-backend-bytes=4294967296",
                "--log-level=warn",
            ]
        )

    def _start_apiserver(self) -> None:
        service_account_key = self.certificates / "service-account.key"
        self.apiserver.start(
            [
                str(programs.binaries() / "kube-apiserver"),
                f"--etcd-servers=http://127.0.0.1:{self.layout.etcd_port}",
                "--bind-address=127.0.0.1",
                # No pod reaches this API server, so there is no address to advertise to them.
                "--advertise-address=127.0.0.1",
                "--endpoint-reconciler-type=none",
                f"--secure-port={self.layout.api_port}",
                f"--cert-dir={self.folder}",
                f"--tls-cert-file={self.certificates / 'server.crt'}",
                f"--tls-private-key-file={self.certificates / 'server.key'}",
                f"--client-ca-file={self.certificates / 'ca.crt'}",
                f"--service-account-key-file={service_account_key}",
                f"--service-account-signing-key-file={service_account_key}",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--service-cluster-ip-range=10.64.0.0/16",
                "--authorization-mode=Node,RBAC",
                "--allow-privileged=true",
                "--profiling=false",
            ]
        )

    def _start_controller_manager(self) -> None:
        kubeconfig = self.certificates / "controller-manager.kubeconfig"
        self.controller_manager.start(
            [
                str(programs.binaries() / "kube-controller-manager"),
                f"--kubeconfig={kubeconfig}",
                f"--authentication-kubeconfig={kubeconfig}",
                f"--authorization-kubeconfig={kubeconfig}",
                "--bind-address=127.0.0.1",
                f"--secure-port={self.layout.controller_manager_port}",
                f"--cert-dir={self.folder}",
                f"--root-ca-file={self.certificates / 'ca.crt'}",
                f"--service-account-private-key-file={self.certificates / 'service-account.key'}",
                "--use-service-account-credentials=true",
                "--leader-elect=false",
                "--profiling=false",
            ]
        )

    def _wait(self, what: str, process: Process, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not done():
            if self.etcd.pid() is None:
                raise LabError.with_log(f"lab {self.name}: etcd ended while {what} was waited for", self.etcd.log)
            if process.pid() is None:
                raise LabError.with_log(f"lab {self.name}: {what} ended at its start", process.log)
            if time.monotonic() > deadline:
                raise LabError.with_log(f"lab {self.name}: {what} not ready after {READY_SECONDS:.0f} s", process.log)
            time.sleep(0.1)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One up or down of this lab at a time, whichever program asks."""
        with locked(f"controlplane-{self.name}"):
            yield
