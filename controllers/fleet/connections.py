"""How a Host object and its Secrets become a connection that a driver can open. Called by the Host kind at each turn,
so that a changed address or credential takes effect live.
"""

from collections.abc import Mapping

from controllers.engine.base import Api, Obj, Refused, Services
from crds.host import HostSpec, HostStatus
from crds.host import LibvirtConnection as AskedLibvirt
from drivers.base import Connection, LibvirtConnection, SimulatedConnection, SSHMaterial, TLSMaterial
from drivers.errors import AuthenticationFailed

BACKENDS = {"Libvirt": "kvm", "Simulated": "simulated", "VSphere": "vsphere", "Xen": "xen"}
HYPERVISORS = {"Libvirt": "KVM", "Simulated": "Simulated", "VSphere": "VSphere", "Xen": "Xen"}
"""Connection type → the HostCluster's hypervisor that it goes with."""
PORTS = {"qemu+tls": ":16514", "qemu+tcp": ":16509", "qemu+ssh": ":22"}
AGAIN = 15.0
"""Seconds until Secrets that were not there, or not whole, are read again: they are not watched."""


def address_of(spec: HostSpec) -> str:
    """Where the host is, for messages and for finding two Hosts with one end-point. "" when it is the object's own."""
    connection = spec.connection
    if connection.libvirt is not None:
        return connection.libvirt.uri
    if connection.vsphere is not None:
        return f"vsphere://{connection.vsphere.host}"
    if connection.xen is not None:
        return f"xen://{connection.xen.host_uuid}"
    return ""


def end_point_of(spec: HostSpec) -> str:
    """What two Hosts must not have in common: the machine meant, by whatever transport or user."""
    address = address_of(spec)
    if not address.startswith("qemu+"):
        return address
    transport, _, rest = address.partition("://")
    place = rest.partition("/")[0].rpartition("@")[2].lower()
    return f"libvirt://{place.removesuffix(PORTS[transport])}"


def secret_hint(reason: str, spec: HostSpec, namespace: str) -> str:
    """After the words of a host that refused our credentials: where they come from and what happens next. "" for any
    other `reason`."""
    libvirt = spec.connection.libvirt
    if reason != AuthenticationFailed.reason or libvirt is None:
        return ""
    ref, field = (libvirt.ssh_secret_ref, "sshSecretRef") if libvirt.ssh_secret_ref else (
        libvirt.tls_secret_ref, "tlsSecretRef"
    )  # fmt: skip
    if ref is None:
        return ""
    return (
        f". They are Secret {namespace}/{ref.name} (spec.connection.libvirt.{field}), which is read again every few "
        "seconds: correct it, or what the host accepts. Guests run on meanwhile."
    )


async def connection_for(host: Obj[HostSpec, HostStatus], services: Services, state: str) -> Connection:
    """The connection that the object asks for, with its Secrets read live from the operator's namespace. `state` is
    where simulated hosts keep theirs. Raises Refused (Unsupported, SecretNotFound, SecretIncomplete, and what
    `Api.secret` raises)."""
    asked = host.spec.connection
    if asked.libvirt is not None:
        return await _libvirt(host.name, asked.libvirt, services)
    if asked.simulated is not None:
        return SimulatedConnection(
            host=host.name,
            cpus=asked.simulated.cpus,
            memory=asked.simulated.memory,
            state=state,
            installations=services.installations,
        )
    raise Refused(
        "Unsupported",
        f"spec.connection.type: {asked.type} is not supported by this version; Libvirt and Simulated are.",
        stalled=True,
    )


async def _libvirt(host: str, asked: AskedLibvirt, services: Services) -> Connection:
    api, namespace = services.api, services.namespace
    tls = ssh = None
    if asked.tls_secret_ref is not None:
        field = "spec.connection.libvirt.tlsSecretRef"
        found = await _secret(api, namespace, asked.tls_secret_ref.name, field, ("ca.crt", "tls.crt", "tls.key"))
        tls = TLSMaterial(ca=found["ca.crt"], certificate=found["tls.crt"], key=found["tls.key"])
    if asked.ssh_secret_ref is not None:
        field = "spec.connection.libvirt.sshSecretRef"
        found = await _secret(api, namespace, asked.ssh_secret_ref.name, field, ("ssh-privatekey", "known_hosts"))
        ssh = SSHMaterial(private_key=found["ssh-privatekey"], known_hosts=found["known_hosts"])
    return LibvirtConnection(
        host=host,
        uri=asked.uri,
        tls=tls,
        ssh=ssh,
        allow_plaintext=asked.allow_plaintext,
        installations=services.installations,
    )


async def _secret(api: Api, namespace: str, name: str, field: str, keys: tuple[str, ...]) -> Mapping[str, str]:
    data = await api.secret(namespace, name)
    if data is None:
        raise Refused("SecretNotFound", f"{field}: Secret {namespace}/{name} does not exist.", after=AGAIN)
    missing = [key for key in keys if not data.get(key)]
    if missing:
        raise Refused(
            "SecretIncomplete",
            f"{field}: Secret {namespace}/{name} lacks {' and '.join(missing)}; it needs {', '.join(keys)}.",
            after=AGAIN,
        )
    try:
        return {key: data[key].decode() for key in keys}
    except UnicodeDecodeError:
        raise Refused(
            "SecretIncomplete", f"{field}: Secret {namespace}/{name} holds bytes that are no PEM text.", after=AGAIN
        ) from None
