"""Test what the maintenance of the certificates remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from common.logs import logger
from controller.certificates.expiry import ExpiryWarner
from controller.certificates.webhook_certificate import Admission, AdmissionMemory
from controller.informer.cluster_cache import ClusterCache
from tests.support.controller import settings

if TYPE_CHECKING:
    from controller.kubeclient.client import KubeClient


def test_new_term_starts_without_memory() -> None:
    """An error, a limit or a version of the last term may be wrong by now."""
    log, state = logger("ERROR", "test"), ClusterCache(lambda _: None)
    expiry = ExpiryWarner(state, settings().lifetimes.warning, log)
    admission = Admission(cast("KubeClient", None), settings(), state, expiry, log)
    admission.memory.ca_error = "exceeded quota"
    admission.memory.versions["Secret"] = "1"
    admission.memory.limiter.record_repair("Secret", 1, 0.0, cost=10)
    admission.memory.durations.held_for("trust", "new", 0.0)
    admission.report_failure()
    assert state.ca_failure == "exceeded quota"
    admission.forget()
    assert admission.memory == AdmissionMemory()
    assert state.ca_failure is None
