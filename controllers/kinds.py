"""Which reconcilers and components make up the operator, and how they are wired. Called by `controllers.__main__`."""

from collections.abc import Callable, Iterable
from typing import Any

from controllers.config import Settings
from controllers.disposal import Disposal
from controllers.engine.base import Reconciler, Services
from controllers.engine.engine import Component
from controllers.fleet.fleet import LiveFleet
from controllers.host import HostReconciler
from controllers.hostcluster import HostClusterReconciler
from controllers.hostpod import HostPodReconciler
from controllers.imagestore import ImageStoreReconciler
from controllers.instances.reconciler import InstanceReconciler
from controllers.network import NetworkReconciler
from controllers.networkaddress import NetworkAddressReconciler
from controllers.offers import InstanceTypeReconciler, VolumeTypeReconciler
from controllers.placement.scheduler import PlacementScheduler
from controllers.poolwork import PoolWork
from controllers.protection import NamespaceProtection
from controllers.region import RegionReconciler
from controllers.snapshot import SnapshotReconciler
from controllers.storagepool import StoragePoolReconciler
from controllers.template import TemplateReconciler
from controllers.volume import VolumeReconciler
from controllers.zone import ZoneReconciler
from drivers import registry
from drivers.base import Connection, EndPoint


class Wiring:
    """The parts of one run of the engine, which asks for the components first."""

    def __init__(
        self, settings: Settings, open_endpoint: Callable[[Connection, float], EndPoint] = registry.open_endpoint
    ) -> None:
        """`open_endpoint`: tests wrap what it opens (`drivers.recording`)."""
        self._settings = settings
        self._open_endpoint = open_endpoint

    def components(self, services: Services) -> Iterable[Component]:
        """What runs while we are leader."""
        self._fleet = LiveFleet(
            services,
            simulated_state=str(self._settings.simulated_state),
            listing_interval=self._settings.listing_interval,
            pool_interval=self._settings.pool_interval,
            open_endpoint=self._open_endpoint,
        )
        self._scheduler = PlacementScheduler(services, self._fleet)
        return (self._fleet, NamespaceProtection(services), self._scheduler)

    def reconcilers(self, services: Services) -> Iterable[Reconciler[Any, Any]]:
        """One for each kind."""
        fleet, scheduler = self._fleet, self._scheduler
        disposal, pools = Disposal(services, fleet), PoolWork(services, fleet)
        return (
            RegionReconciler(services),
            ZoneReconciler(services, scheduler.rooms),
            HostPodReconciler(services),
            HostClusterReconciler(services, fleet, scheduler.rooms),
            HostReconciler(services, fleet),
            StoragePoolReconciler(services, pools),
            ImageStoreReconciler(services, fleet),
            InstanceTypeReconciler(services),
            VolumeTypeReconciler(services),
            TemplateReconciler(services, fleet, disposal, self._settings.cluster_cidrs),
            VolumeReconciler(services, fleet, pools, disposal, scheduler),
            SnapshotReconciler(services),
            NetworkReconciler(services),
            NetworkAddressReconciler(services, fleet),
            InstanceReconciler(services, fleet, scheduler),
        )
