"""The API server itself goes away and comes back: killed, for a while, with nothing in its watch cache."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from lab.controlplane import pki
from tests.cluster import until
from tests.faults.apiworld import World
from tests.faults.declared import assert_as_declared


def test_killed_and_started_again_nothing_is_lost_or_doubled(api: World) -> None:
    api.traffic()
    api.plane.outage(0.0)
    api.traffic()
    api.settle()


def test_away_for_longer_than_the_lease_it_is_taken_up_where_it_was(api: World) -> None:  # W6
    api.pod.ends.clear()
    api.traffic()
    api.plane.outage(8.0)
    api.traffic()
    api.settle()
    assert 3 in api.pod.ends, "without its Lease the process ends"


def test_objects_deleted_while_its_watch_cache_was_cold_are_gone_for_the_operator_too(api: World) -> None:
    """The operator is cut off, objects go, the API server is started anew: no watch can ever tell of them."""
    cloud = api.tenant(first=60, last=60)
    cloud.reserve("10.91.0.60", name="somebody")
    cloud.instance("waits", networks=[{"name": "lan", "networkRef": {"name": "lan"}}])
    said = cloud.message("Instance", "waits", "NoFreeAddress")
    assert "lan" in said
    api.proxy.refuse()
    name = "lan.10-91-0-60"
    where = ("-n", cloud.namespace)
    no_finalizer = json.dumps({"metadata": {"finalizers": None}})
    api.kubectl.run("patch", "naddr", name, *where, "--type=merge", "-p", no_finalizer)
    api.kubectl.run("delete", "naddr", name, *where, "--wait=false")
    until(lambda: cloud.api.get("NetworkAddress", name) is None)
    api.plane.outage(0.0)
    api.proxy.listen()
    cloud.api.await_condition("Instance", "waits", deadline=40.0)
    assert cloud.status("Instance", "waits")["networks"][0]["addresses"] == ["10.91.0.60"]
    assert_as_declared(cloud)
    cloud.api.remove("instance/waits")


def test_a_certificate_that_expired_is_read_again_from_disk_without_a_restart(api: World) -> None:
    """Against the API server itself, which looks at the certificate's end at every request."""
    kubeconfig, write = _road_of_short_lived_certificates(api)
    api.pod.stop()
    pod = api.second("renewed")
    pod.arguments = [f"--kubeconfig={kubeconfig}", *pod.arguments[1:]]
    write(14)
    try:
        pod.start(wait=False)
        pod.until_ready(13.0)
        ends = len(pod.ends)
        until(lambda: pod.said("401 Unauthorized"), 40.0, why=lambda: pod.log.read_text()[-2000:])
        write(3600)
        api.traffic()
        assert_as_declared(api.cloud)
        assert len(pod.ends) == ends
    finally:
        pod.stop()
        api.pod.start()


def test_while_it_is_away_a_restarted_operator_waits_and_says_so(api: World) -> None:
    api.plane.kill_apiserver()
    api.pod.restart(wait=False)
    until(lambda: api.pod.said("API server cannot be used yet"), 20.0)
    assert until(lambda: api.pod.page("/livez"), 5.0)[0] == 200, "it waits, it is not wedged"
    assert api.pod.page("/readyz")[0] == 503
    api.plane.start_apiserver()
    api.settle()


def _road_of_short_lived_certificates(api: World) -> tuple[Path, Callable[[float], None]]:
    """A kubeconfig that names files, and what writes them anew with a certificate for so many seconds."""
    document = yaml.safe_load(api.plane.operator_kubeconfig.read_text())
    user = document["users"][0]["user"]
    old = x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))
    key = serialization.load_pem_private_key(base64.b64decode(user["client-key-data"]), None)
    certificate, key_file = api.folder / "client.crt", api.folder / "client.key"
    key_file.write_bytes(base64.b64decode(user["client-key-data"]))
    document["users"][0]["user"] = {"client-certificate": str(certificate), "client-key": str(key_file)}
    kubeconfig = api.folder / "files.kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(document))
    authority = pki._authority()
    # The API server reads its bundle of client CAs again when the file changes.
    bundle = api.plane.certificates / "ca.crt"
    bundle.write_bytes(bundle.read_bytes() + authority.certificate_pem())

    def write(seconds: float) -> None:
        now = datetime.now(UTC)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        made = (
            x509.CertificateBuilder()
            .subject_name(old.subject)
            .issuer_name(authority.certificate.subject)
            .public_key(old.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(seconds=seconds))
            .add_extension(usage, critical=False)
            .sign(authority.key, hashes.SHA256())
        )
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    assert key is not None
    return kubeconfig, write
