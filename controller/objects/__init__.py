"""Describe Kubernetes objects: names, ownership, immutable fields, merge patches."""
