"""Hosts and servers of a lab: how they are reached, how they die and come back, and that nothing of them stays."""

import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.layout import ROOT
from lab.machines import Host, Machines, render

Until = Callable[[Callable[[], bool], str], None]
TLS_PORT = 16514


def virsh(uri: str, *words: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["virsh", "-q", "-c", uri, *words], capture_output=True, text=True, timeout=timeout)


def with_pki(host: Host, folder: Path) -> str:
    return f"{host.uri}?pkipath={folder}"


def foreign_domain(host: Host, name: str) -> None:
    xml = f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>"
    host.exec(["virsh", "define", "/dev/stdin"], text=xml)


# -- connections ------------------------------------------------------------------------------------------------------


def test_each_host_answers_over_tls_with_an_identity_of_its_own(machines: Machines) -> None:
    seen = set()
    for host in machines.hosts:
        answer = virsh(with_pki(host, machines.pki_dir), "capabilities")
        assert answer.returncode == 0, answer.stderr
        assert f"<uuid>{host.uuid}</uuid>" in answer.stdout
        seen.add(host.uuid)
    assert len(seen) == len(machines.hosts)


def test_a_client_does_not_trust_a_host_of_another_authority(machines: Machines) -> None:
    answer = virsh(with_pki(machines.hosts[0], machines.foreign_pki_dir), "uri")
    assert answer.returncode != 0
    assert "known issuer" in answer.stderr


@pytest.mark.parametrize(("folder", "welcome"), [("", True), ("foreign", False)])
def test_a_host_lets_in_only_clients_of_its_own_authority(machines: Machines, folder: str, welcome: bool) -> None:
    context = ssl.create_default_context(cafile=str(machines.pki_dir / "cacert.pem"))
    own = machines.pki_dir / folder
    context.load_cert_chain(own / "clientcert.pem", own / "clientkey.pem")
    address = machines.hosts[0].address
    said = b""
    try:
        with (
            socket.create_connection((address, TLS_PORT), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=address) as secured,
        ):
            said = secured.recv(1)
    except (ssl.SSLError, ConnectionError):
        assert not welcome
    # libvirtd confirms a certificate that it accepts with one byte.
    assert said == (b"\1" if welcome else b"")


def test_only_the_host_that_was_asked_for_answers_without_tls(machines: Machines) -> None:
    assert virsh(machines.host("node-2").plaintext_uri, "uri").returncode == 0
    refused = virsh(machines.host("node-1").plaintext_uri, "uri")
    assert "Connection refused" in refused.stderr


def test_a_host_answers_through_ssh_with_known_keys(machines: Machines) -> None:
    keys = machines.pki_dir / "ssh"
    uri = f"qemu+libssh2://root@{machines.hosts[0].address}/system"
    answer = virsh(f"{uri}?keyfile={keys}/id_ed25519&known_hosts={keys}/known_hosts&sshauth=privkey", "hostname")
    assert answer.stdout.strip() == "node-1", answer.stderr


def test_what_a_host_writes_stays_on_the_host(machines: Machines) -> None:
    machines.hosts[0].exec(["bash", "-c", "echo mine > /etc/of-node-1"])
    assert not Path("/etc/of-node-1").exists()
    assert machines.hosts[1].exec(["cat", "/etc/of-node-1"], check=False).returncode != 0


# -- death and return -------------------------------------------------------------------------------------------------


def test_a_host_that_died_comes_back_with_its_definitions_and_its_identity(machines: Machines) -> None:
    host = machines.host("node-1")
    foreign_domain(host, "by-hand")
    host.kill()
    assert not host.alive()
    with pytest.raises(LabError, match="node-1 of lab labtest is off"):
        host.exec(["true"])
    host.revive()
    answer = virsh(with_pki(host, machines.pki_dir), "list", "--all", "--name")
    assert "by-hand" in answer.stdout.split()
    assert f"<uuid>{host.uuid}</uuid>" in virsh(with_pki(host, machines.pki_dir), "capabilities").stdout
    host.exec(["virsh", "undefine", "by-hand"])


@pytest.mark.parametrize("fault", ["freeze", "cut", "silent death"])
def test_an_open_to_a_host_that_went_silent_hangs_until_it_is_back(machines: Machines, fault: str) -> None:
    host = machines.host("node-1")
    does: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "freeze": (host.freeze_libvirtd, host.thaw_libvirtd),
        "cut": (host.cut, host.mend),
        "silent death": (lambda: host.kill(silent=True), host.revive),
    }
    begin, end = does[fault]
    begin()
    with pytest.raises(subprocess.TimeoutExpired):
        virsh(with_pki(host, machines.pki_dir), "uri", timeout=2)
    problems = {status.name: status.problem for status in machines.status()}
    assert problems.pop("node-1") in ("libvirtd frozen", "management cable pulled", "off")
    assert set(problems.values()) == {None}
    end()
    assert virsh(with_pki(host, machines.pki_dir), "uri").returncode == 0


def test_libvirtd_can_die_alone(machines: Machines) -> None:
    host = machines.host("node-1")
    host.kill_libvirtd()
    assert host.alive()
    assert "Connection refused" in virsh(with_pki(host, machines.pki_dir), "uri").stderr
    host.start_libvirtd()
    assert virsh(with_pki(host, machines.pki_dir), "uri").returncode == 0


def test_up_again_touches_nothing_that_is_well_and_mends_what_is_not(machines: Machines) -> None:
    before = {status.name: status.pid for status in machines.status()}
    said: list[str] = []
    machines.up(said.append)
    assert said == ["lab labtest: everything is up"]
    machines.host("node-1").kill()
    machines.host("node-2").freeze_libvirtd()
    machines.nfs.cut()
    machines.up()
    after = {status.name: status.pid for status in machines.status()}
    assert {status.problem for status in machines.status()} == {None}
    assert [name for name in before if before[name] != after[name]] == ["node-1"]


def test_a_lab_that_is_there_refuses_other_options(machines: Machines) -> None:
    with pytest.raises(LabError, match="Take it down first"):
        Machines("labtest", hosts=1).up()
    with pytest.raises(LabError, match="has no machine 'node-9'; it has nfs, web, net, node-1, node-2"):
        machines.host("node-9")


def test_down_leaves_nothing() -> None:
    machines = Machines("labtest-down", hosts=1)
    machines.up()
    pids = [status.pid for status in machines.status()]
    bridge = machines.plan.management_bridge
    assert Path("/sys/class/net", bridge).exists()
    machines.down()
    machines.down()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    names = {path.name for path in Path("/sys/class/net").iterdir()}
    assert not [name for name in names if name.startswith(f"sl{machines.plan.index}")]
    assert not list(Path("/run/netns").glob(f"sl{machines.plan.index}-*"))
    assert "labtest-down" not in Path("/proc/self/mounts").read_text()
    assert not (ROOT / "labtest-down").exists()


# -- storage ----------------------------------------------------------------------------------------------------------


def netfs(machines: Machines, name: str, folder: str) -> str:
    source = f"<host name='{machines.nfs.address}'/><dir path='{folder}'/><format type='nfs'/>"
    target = f"<target><path>/mnt/{name}</path></target>"
    return f"<pool type='netfs'><name>{name}</name><source>{source}</source>{target}</pool>"


def start_pool(machines: Machines, host: Host, name: str, folder: str = "/primary") -> None:
    host.exec(["mkdir", "-p", f"/mnt/{name}"])
    host.exec(["virsh", "pool-create", "/dev/stdin"], text=netfs(machines, name, folder))


def stop_pool(machines: Machines, name: str) -> None:
    for host in machines.hosts:
        host.exec(["virsh", "pool-destroy", name])


def test_a_pool_on_two_hosts_is_the_same_storage(machines: Machines) -> None:
    for host in machines.hosts:
        start_pool(machines, host, "shared")
    one, two = machines.hosts
    one.exec(["virsh", "vol-create-as", "shared", "disk", "1G", "--format", "qcow2"])
    two.exec(["virsh", "pool-refresh", "shared"])
    assert "/mnt/shared/disk" in two.exec(["virsh", "vol-list", "shared"]).stdout
    one.exec(["bash", "-c", "echo from one > /mnt/shared/note; mv /mnt/shared/note /mnt/shared/renamed"])
    assert two.exec(["cat", "/mnt/shared/renamed"]).stdout == "from one\n"
    two.exec(["virsh", "vol-delete", "disk", "shared"])
    assert one.exec(["ls", "/mnt/shared"]).stdout.split() == ["renamed"]
    two.exec(["rm", "/mnt/shared/renamed"])
    stop_pool(machines, "shared")


def test_qemu_and_its_tools_work_on_the_pool(machines: Machines) -> None:
    host = machines.hosts[0]
    start_pool(machines, host, "tools")
    work = "qemu-img create -q -f qcow2 t.qcow2 256M"
    work += (
        " && qemu-io -c 'write -P 7 0 8M' -c flush -c 'read -P 7 1M 4k' -t none t.qcow2 && qemu-img check -q t.qcow2"
    )
    work += " && truncate -s 1000 f && stat -c %s f && stat -f -c %b . && sync f && rm f t.qcow2 && ls -A | wc -l"
    answer = host.exec(["bash", "-c", f"cd /mnt/tools && {work}"]).stdout
    assert "verification failed" not in answer
    assert answer.split()[-3] == "1000"
    assert answer.split()[-1] == "0"
    host.exec(["virsh", "pool-destroy", "tools"])


def test_a_wrong_path_fails_with_the_servers_reason(machines: Machines) -> None:
    with pytest.raises(LabError, match=f"mount.nfs: access denied by server while mounting {machines.nfs.address}:/no"):
        start_pool(machines, machines.hosts[0], "wrong", "/nowhere")


@pytest.mark.parametrize("fault", ["death", "silent death", "cut"])
def test_writes_wait_for_a_storage_server_that_is_away_and_none_is_lost(
    machines: Machines, until: Until, fault: str
) -> None:
    host, server = machines.hosts[0], machines.nfs
    start_pool(machines, host, "outage")
    does: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "death": (server.kill, server.revive),
        "silent death": (lambda: server.kill(silent=True), server.revive),
        "cut": (server.cut, server.mend),
    }
    begin, end = does[fault]
    write = (
        "exec 3<>/mnt/outage/data; echo open; read go; for n in $(seq 50); do echo $n >&3; done; sync /mnt/outage/data"
    )
    with subprocess.Popen(
        host.enter(["bash", "-c", write]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        begin()
        with pytest.raises(subprocess.TimeoutExpired):
            writer.communicate("go\n", timeout=4)
        end()
        writer.communicate(timeout=30)
        assert writer.returncode == 0
    assert host.exec(["cat", "/mnt/outage/data"]).stdout.split() == [str(n + 1) for n in range(50)]
    host.exec(["rm", "/mnt/outage/data"])
    host.exec(["virsh", "pool-destroy", "outage"])


def test_only_sigkill_ends_the_wait_for_a_storage_server(machines: Machines) -> None:
    host = machines.hosts[0]
    start_pool(machines, host, "signals")
    machines.nfs.kill()
    # A handled signal must not break an open off (QEMU's timers send them all the time), and SIGKILL must.
    script = "(trap : USR1; exec 3</mnt/signals/none) & child=$!; sleep 1; kill -USR1 $child; sleep 1"
    script += "; kill -0 $child && echo lives; kill -KILL $child; wait $child; echo ended"
    answer = host.exec(["bash", "-c", script], timeout=20)
    assert answer.stdout.split() == ["lives", "ended"]
    machines.nfs.revive()
    host.exec(["virsh", "pool-destroy", "signals"])


def test_a_connection_that_the_server_closed_is_made_anew(machines: Machines) -> None:
    host = machines.hosts[0]
    start_pool(machines, host, "closed")

    def connections() -> str:
        return machines.nfs.exec(["ss", "-Htn", "state", "established", "sport", "=", ":2049"]).stdout

    before = connections()
    machines.nfs.exec(["ss", "-K", "state", "established", "sport", "=", ":2049"], check=False)
    assert host.exec(["ls", "-A", "/mnt/closed"], timeout=20).returncode == 0
    assert before != "" != connections() != before
    host.exec(["virsh", "pool-destroy", "closed"])


# -- templates and manifests ------------------------------------------------------------------------------------------


def fetch(url: str, timeout: float = 10) -> bytes:
    with urllib.request.urlopen(url, timeout=timeout) as reply:
        content: bytes = reply.read()
    return content


def test_the_template_server_also_misbehaves_when_asked(machines: Machines) -> None:
    (machines.web.folder / "small").write_bytes(bytes(range(200)))
    root = machines.web.url
    whole = fetch(root + "small")
    assert whole == bytes(range(200))
    assert fetch(root + "chunked/small") == fetch(root + "redirect/small") == fetch(root + "slow/small") == whole
    assert len(fetch(root + "wrong/small")) == 200
    assert fetch(root + "wrong/small") != whole
    with pytest.raises(Exception, match="IncompleteRead"):
        fetch(root + "truncated/small")
    with pytest.raises(urllib.error.URLError, match="refused"):
        fetch(root + "to-loopback/small")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(root + "none")


def test_manifests_are_rendered_for_the_lab(machines: Machines, tmp_path: Path) -> None:
    zeros = "sha256:" + "0" * 64
    source = tmp_path / "examples"
    (source / "more").mkdir(parents=True)
    (source / "template.yaml").write_text(f"url: http://10.90.0.4/guest.qcow2\nchecksum: {zeros}\n")
    (source / "more/other.yaml").write_text(f"name: lan.10-91-0-60\ncidr: 10.91.0.0/24\nchecksum: {zeros}\n")
    target = render(source, tmp_path / "rendered", machines.plan, machines.template_checksum)
    text = (target / "template.yaml").read_text()
    assert text == f"url: {machines.template_url}\nchecksum: {machines.template_checksum}\n"
    dashed = machines.guest_prefix.replace(".", "-")
    other = (target / "more/other.yaml").read_text()
    assert other == f"name: lan.{dashed}60\ncidr: {machines.guest_prefix}0/24\nchecksum: {zeros}\n"
