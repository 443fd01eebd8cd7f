"""Validate RegistryMirrors and fill in their defaults, as an admission webhook: `python -m webhook`."""
