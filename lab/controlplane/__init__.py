"""The lab's control plane: etcd, kube-apiserver and kube-controller-manager, built from Go modules and run as processes.

`ControlPlane` is what lab.__main__, lab.demo and the test fixtures use; `python -m lab.controlplane.build` builds.
"""

from lab.controlplane.cluster import ControlPlane

__all__ = ["ControlPlane"]
