"""What the operator counts: one registry for the process, served by `controllers.engine.health` on /metrics.

Imported by the engine, the fleet and the kinds. Labels are bounded (kind, verb, result, back-end, lane state), never
the name of an object.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()
_FAST = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)

QUEUE_DEPTH = Gauge("stratiform_queue_depth", "Objects that wait to be reconciled.", ["priority"], registry=REGISTRY)
QUEUE_AGE = Gauge("stratiform_queue_oldest_seconds", "How long the oldest waiting object waits.", registry=REGISTRY)
QUEUE_TIMERS = Gauge("stratiform_queue_timers", "Objects that wait for a moment.", registry=REGISTRY)
RECONCILING = Gauge("stratiform_reconciling", "Objects being reconciled now.", registry=REGISTRY)
RECONCILE_OLDEST = Gauge("stratiform_reconcile_longest_seconds", "Age of the oldest reconcile.", registry=REGISTRY)
RECONCILE_SECONDS = Histogram(
    "stratiform_reconcile_seconds", "Duration of a reconcile.", ["kind"], buckets=_FAST, registry=REGISTRY
)
RECONCILES = Counter("stratiform_reconciles_total", "Reconciles by outcome.", ["kind", "result"], registry=REGISTRY)
BUGS = Counter(
    "stratiform_bugs_total", "Reconciles that ended in an unexpected exception.", ["kind"], registry=REGISTRY
)

API_REQUESTS = Counter(
    "stratiform_api_requests_total", "Requests to the API server.", ["verb", "kind", "result"], registry=REGISTRY
)
API_BYTES = Counter(
    "stratiform_api_sent_bytes_total", "Bytes of bodies sent to the API server.", ["verb", "kind"], registry=REGISTRY
)
API_SECONDS = Histogram(
    "stratiform_api_request_seconds", "Duration of requests.", ["verb"], buckets=_FAST, registry=REGISTRY
)
EVENTS_DROPPED = Counter(
    "stratiform_events_dropped_total", "Events not written because of load or errors.", registry=REGISTRY
)

DRIVER_CALLS = Counter(
    "stratiform_driver_calls_total", "Driver calls by result.", ["backend", "call", "result"], registry=REGISTRY
)
DRIVER_SECONDS = Histogram(
    "stratiform_driver_call_seconds", "Duration of driver calls.", ["backend", "call"], buckets=_FAST, registry=REGISTRY
)
LANES = Gauge("stratiform_lanes", "Lanes (one or more per end-point) by state.", ["state"], registry=REGISTRY)
HUNG_CALLS = Gauge("stratiform_driver_calls_hung", "Driver calls that have not come back in time.", registry=REGISTRY)
OLDEST_CALL = Gauge(
    "stratiform_driver_call_longest_seconds",
    "Age of the oldest driver call under way, transfers too.",
    registry=REGISTRY,
)
HOSTS = Gauge(
    "stratiform_hosts", "Hosts by back-end and state of their connection.", ["backend", "link"], registry=REGISTRY
)

PLACEMENTS = Counter("stratiform_placements_total", "Placement decisions by result.", ["result"], registry=REGISTRY)
PLACEMENT_REJECTIONS = Counter(
    "stratiform_placement_rejections_total",
    "Refused decisions that lost hosts to this filter.",
    ["filter"],
    registry=REGISTRY,
)
PLACEMENT_WAITING = Gauge("stratiform_placement_waiting", "Instances that fit nowhere now.", registry=REGISTRY)

OBJECTS = Gauge("stratiform_objects", "Objects in the cache.", ["kind"], registry=REGISTRY)
UNREADABLE = Gauge("stratiform_objects_unreadable", "Objects whose spec cannot be read.", ["kind"], registry=REGISTRY)
WATCH_EVENTS = Counter("stratiform_watch_events_total", "Events that Kopf reported.", ["kind"], registry=REGISTRY)
WATCH_STARTS = Counter("stratiform_watch_starts_total", "Times that Kopf's operator was started.", registry=REGISTRY)
RELISTS = Counter("stratiform_relists_total", "Relists by result.", ["kind", "result"], registry=REGISTRY)
REPAIRS = Counter("stratiform_relist_repairs_total", "What a relist found.", ["kind", "what"], registry=REGISTRY)
LEADER = Gauge("stratiform_leader", "1 while this process holds the Lease.", registry=REGISTRY)
LOOP_LAG = Gauge("stratiform_loop_lag_seconds", "How late the engine's loop ran its last heartbeat.", registry=REGISTRY)
