"""KVM hosts through libvirt. Only `KVMDriver` is for others (`drivers.registry`)."""

from drivers.kvm.driver import KVMDriver

__all__ = ["KVMDriver"]
