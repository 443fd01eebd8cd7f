"""Turns each RegistryMirror into a StatefulSet, Services, a Secret and a DaemonSet, and keeps them so."""
