"""What can be done: all I/O to hypervisors and storage. Knows neither Kopf nor Kubernetes."""
