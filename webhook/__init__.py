"""The admission webhook: judges RegistryMirrors and fills in their defaults. `python -m webhook`."""
