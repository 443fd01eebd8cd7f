"""Read containerd's configuration and write its certs.d files."""
