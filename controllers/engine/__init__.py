"""The reconcile engine: cache, work queue, lanes, lease, status writer, and the supervised watch."""
