"""Lead podman and CRI-O to the mirror, by a drop-in of registries.conf."""
