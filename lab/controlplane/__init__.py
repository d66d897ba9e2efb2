"""The lab's control plane: etcd, kube-apiserver and kube-controller-manager, built from Go modules, run as processes.

`ControlPlane` is what lab.__main__, lab.demo and the test fixtures use.
"""

from lab.controlplane.cluster import ControlPlane

__all__ = ["ControlPlane"]
