"""What is storage-specific and the same for every back-end: names, claims, pool sources, the cloud-init seed."""
