"""Reconcile one mirror."""
