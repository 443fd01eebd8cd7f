"""Run Prometheus in a node's network, where it reaches the pods."""

import sys
from pathlib import Path

from tests.localcluster import scrape_targets, secret_sync
from tests.localcluster.families import url_host
from tests.localcluster.node.node import Node
from tests.localcluster.scraping import configured, rules, scrape_configs
from tests.localcluster.system import CERTIFICATE, NAMESPACE, REPOSITORY

NAME = "prometheus"
PORT = 9090
INTERVAL = "5s"  # of scrapes and evaluations


def start(node: Node) -> str:
    """Start Prometheus with the targets and rules of the overlay `monitoring`; return its URL when it answers.

    Raises LocalClusterError if apt-get has no Prometheus.
    """
    folder = node.cluster.folder
    targets, secrets = folder / "scrape-targets.json", folder / "scrape-secrets"
    scraping = scrape_configs(targets, secrets, INTERVAL)
    command = configured(folder / NAME, scraping, rules(), INTERVAL, f"{url_host(node.address)}:{PORT}")
    _follow(node, "scrape-secrets", secret_sync.__name__, CERTIFICATE, secrets / CERTIFICATE)
    _follow(node, "scrape-targets", scrape_targets.__name__, targets)
    # Prometheus reads them when it starts.
    node.wait_for("the files for Prometheus exist", lambda: targets.exists() and any(secrets.glob("*/ca.crt")))
    node.sandbox.launch(NAME, command)
    node.wait_for("Prometheus answers", lambda: node.answers(node.address, PORT))
    return f"http://{url_host(node.address)}:{PORT}"


def _follow(node: Node, name: str, module: str, *arguments: str | Path) -> None:
    """Run a program of this machine that follows objects of the system."""
    cluster = node.cluster
    argv = [sys.executable, "-m", module, str(cluster.kubectl), NAMESPACE, *map(str, arguments)]
    node.processes.start(name, argv, {**cluster.client_environment, "PYTHONPATH": str(REPOSITORY)})
