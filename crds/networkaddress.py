"""NetworkAddress: one address taken. Creating it is the claim, so that no two instances get one.

Not IPAddress: core Kubernetes has that kind, and deleting all of it would delete its Service addresses.
"""

from typing import Annotated, ClassVar, Literal

from crds.base import Model, NameRef, StatusModel
from crds.fields import Address, Label, Name, ShortLabel, Uuid, about, immutable

CLAIMED = ("Claimed", "The address is taken: this object is the claim.")
"""Reason and message of Ready, true of every NetworkAddress from its creation on, so that a claim costs one write."""


class InstanceClaim(Model):
    """One NIC of one instance."""

    namespace: Annotated[Label, about("Namespace of the instance.")]
    name: Annotated[Name, about("Name of the instance.")]
    uid: Annotated[
        Uuid,
        about("metadata.uid of the instance; of one that does not exist, and has no machine left, it is free again."),
    ]
    interface: Annotated[ShortLabel, about("Name of the NIC in spec.networks of the instance.")]
    uuid: Annotated[
        Uuid | None,
        about("status.uuid of the instance: while a machine of that UUID is there, the address outlives the object."),
    ] = None


class Reservation(Model):
    """Who may use the address."""

    namespace: Annotated[Label, about("Namespace whose instances may use it.")]
    name: Annotated[Name | None, about("The only instance that may use it. Unset: any of that namespace.")] = None


class AddressClaim(Model):
    """Whose the address is."""

    UNION: ClassVar[dict[str, str]] = {"Instance": "instance", "Reserved": "reserved"}

    type: Annotated[
        Literal["Instance", "Reserved"],
        about("Instance: taken by a NIC, made by the controllers; Reserved: kept for later, made by people."),
    ]
    instance: Annotated[InstanceClaim | None, about("The NIC. With type Instance.")] = None
    reserved: Annotated[Reservation | None, about("Who may use it. With type Reserved.")] = None


class NetworkAddressSpec(Model):
    """What the claim says."""

    network_ref: Annotated[NameRef, immutable("The Network in the same namespace.")]
    address: Annotated[Address, immutable("The address, in canonical form; its dashed form ends the object's name.")]
    claim: Annotated[AddressClaim, immutable("Whose the address is.")]


class AddressUser(Model):
    """The NIC that has the address."""

    namespace: Annotated[Label, about("Namespace of the instance.")]
    name: Annotated[Name, about("Name of the instance.")]
    uid: Annotated[Uuid, about("metadata.uid of the instance.")]
    interface: Annotated[ShortLabel, about("Name of the NIC in spec.networks of the instance.")]


class NetworkAddressStatus(StatusModel):
    """What is known of the claim."""

    used_by: Annotated[
        AddressUser | None,
        about("The NIC that uses the reserved address now. Unset: none, or spec.claim.instance names it."),
    ] = None
