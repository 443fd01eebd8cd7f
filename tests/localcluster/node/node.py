"""Run a node for a local cluster, for tests and the demo.

    with Node(Cluster(tmp_path / "cluster")).start() as node:
        node.cluster.run_kubectl("get", "nodes")
        node.run("cat", "/etc/hosts")

It has its own mounts, processes and network. This machine's /etc, containers and addresses do not change.
"""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from common.types import Json
from tests.localcluster import commands, kubeconfig
from tests.localcluster.api_server_network import ApiServerNetwork
from tests.localcluster.build import build
from tests.localcluster.cluster import Cluster
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.families import API_SERVER, DNS, IPV4, SINGLE, Families
from tests.localcluster.layout import Layout
from tests.localcluster.node import cleanup, images, kubelet, runtime
from tests.localcluster.node.inside import NAMES, PAUSE, Inside
from tests.localcluster.node.public_ca import BUNDLE, public_ca_file
from tests.localcluster.node.requirements import lack_of_inotify, unmet_requirement
from tests.localcluster.node.runtime import Runtime
from tests.localcluster.node.sandbox import NAME
from tests.localcluster.pki import CertificateAuthority, Identity

CONTAINERD, KUBELET, KUBE_PROXY = "containerd", kubelet.KUBELET, kubelet.KUBE_PROXY
OBJECTS = Path(__file__).with_name("objects.yaml")
READY = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
PINNED = "io.cri-containerd.pinned=pinned"  # excludes the image from garbage collection


class Node(Inside):
    """The node of `cluster`, which must not run yet: the API server runs in the node's network.

    `flavour` is `containerd-1.6` or `containerd-2`. `config_path` is containerd's, for hosts.toml: None is one that
    works, an empty string none, and runtime.BY_DEFAULT leaves it out of the configuration. `folder` has the node's
    files.
    """

    def __init__(
        self,
        cluster: Cluster,
        folder: Path | None = None,
        flavour: str = runtime.DEBIAN,
        *,
        config_path: str | None = None,
        name: str = "node1",
        families: Families = SINGLE,
    ) -> None:
        super().__init__(cluster, (folder or cluster.folder / "node").absolute(), name, families)
        self.flavour = flavour
        self.timings: dict[str, float] = {}
        self._config_path = config_path
        self._layout = Layout(cluster.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._layout.etcd_data, ignore_errors=True)

    @cached_property
    def runtime(self) -> Runtime:
        """Return the files of the container runtime."""
        return runtime.find(self.flavour, self._config_path)

    def start(self) -> Self:
        """Start cluster and node; return when pods run, and Services and DNS work.

        Builds missing programs first and prints the progress to stderr. A failed start leaves nothing running.
        """
        if reason := unmet_requirement() or lack_of_inotify():
            raise LocalClusterError(reason)
        _ = self.runtime  # builds it if needed
        archives = images.base_images()
        try:
            self._timed("control plane", lambda: self.cluster.start(network=self._open))
            self._timed("images", lambda: self._import(archives))
            self._timed("kubelet", self._join)
            self._timed("kube-proxy", self._wait_for_services)
            self._timed("CoreDNS", self._wait_for_names)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop node and cluster; only the logs stay, in the cluster's folder."""
        self.cluster.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ctr(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run containerd's ctr in kubelet's namespace."""
        command = (str(self.runtime.ctr), f"--address={runtime.SOCKET}", "--namespace=k8s.io", *arguments)
        return self.run(*command, check=check)

    def import_image(self, archive: Path) -> None:
        """Import an image from an OCI or docker archive."""
        self.ctr("images", "import", "--digests=false", str(archive))

    def forget_image(self, name: str) -> None:
        """Remove an image and its content from the node, so that the next pod pulls it.

        kubelet's runtime gives an image further names by digest and configuration. Its pods must be deleted; this waits
        for their containers, which hold its layers.
        """
        rows = [line.split() for line in self.ctr("images", "ls").stdout.splitlines()[1:]]
        digest = next((row[2] for row in rows if row[0] == name), None)
        names = {row[0] for row in rows if row[2] == digest}
        self.wait_for(f"no container holds {name}", lambda: names.isdisjoint(self._images_in_use()))
        self.ctr("images", "rm", "--sync", *sorted(names))
        self.ctr("content", "prune", "references")

    def _images_in_use(self) -> set[str]:
        rows = self.ctr("containers", "ls").stdout.splitlines()[1:]
        return {row.split()[1] for row in rows}

    def stop_component(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop containerd, kubelet or kube-proxy; running pods continue. Return when it has ended."""
        self.sandbox.end(name, number)

    def start_component(self, name: str) -> None:
        """Start containerd, kubelet or kube-proxy; return when it has started, for containerd when it answers."""
        commands = {CONTAINERD: self._containerd, KUBELET: self._kubelet, KUBE_PROXY: self._kube_proxy}
        self.sandbox.launch(name, commands[name](), {"PATH": self.runtime.path})
        if name == CONTAINERD:
            self._wait_for_containerd()

    def cut_power(self) -> None:
        """Kill all processes of the node and the API server with SIGKILL. Disks stay."""
        names = [NAME, *(name for name in self.processes.names() if name not in {NAME, commands.ETCD})]
        for name in names:
            self.processes.kill(name)
        self.processes.stop(names)

    def boot(self) -> None:
        """Start the node after a power cut; return when Services and DNS work.

        /etc, the folders of kubelet and containerd, and volumes are kept. Start upstreams again: they ran in its
        network.
        """
        number = self.sandbox.link.number
        cleanup.remove(self.cluster.folder)
        self.sandbox.start(number)
        self.start_component(CONTAINERD)
        for name in commands.SERVERS:
            self.cluster.start_component(name)
        for name in (KUBELET, KUBE_PROXY):
            self.start_component(name)
        self._wait_for_services()
        self._wait_for_names()

    def _open(self) -> ApiServerNetwork:
        """Create the sandbox and start containerd, which needs no API server."""
        self.sandbox.start()
        self.write(runtime.CONFIGURATION, self.runtime.configuration(self.folder))
        self.append(BUNDLE, public_ca_file().read_bytes())  # Go programs read it once
        self.write(f"{runtime.CNI_FOLDER}/10-pods.conflist", json.dumps(runtime.pod_network(self.families)))
        self.write(NAMES, "")
        self.sandbox.launch(CONTAINERD, self._containerd(), {"PATH": self.runtime.path})
        ca = CertificateAuthority(self._layout.ca)
        client = ca.client("apiserver-kubelet-client", ["system:masters"], name="apiserver-kubelet-client")
        return ApiServerNetwork(
            self.address, self.sandbox.network, kubelet.apiserver_arguments(self._layout, client, self.families)
        )

    def _import(self, archives: Iterable[Path]) -> None:
        self._wait_for_containerd()
        for archive in archives:
            self.import_image(archive)
        self.ctr("images", "label", images.PAUSE_IMAGE, PINNED)

    def _join(self) -> None:
        """Start kubelet and kube-proxy; return when the node is Ready."""
        for name in (KUBELET, KUBE_PROXY):
            (self._layout.bin / name).symlink_to(build())
        ca = CertificateAuthority(self._layout.ca)
        self._write_kubeconfig(KUBELET, ca.client(f"system:node:{self.name}", ["system:nodes"], name=KUBELET))
        self._write_kubeconfig(KUBE_PROXY, ca.client("system:kube-proxy", name=KUBE_PROXY))
        serving = ca.server("kubelet-serving", [self.name, *self.addresses])
        self._write_settings(KUBELET, kubelet.kubelet_settings(self._layout, serving, self.families))
        proxy_kubeconfig = self._layout.kubeconfigs / KUBE_PROXY
        self._write_settings(KUBE_PROXY, kubelet.proxy_settings(self.name, proxy_kubeconfig, self.families))
        self.start_component(KUBELET)
        objects = OBJECTS.read_text().replace(DNS[IPV4], DNS[self.families.first])
        self.cluster.run_kubectl("apply", "--filename=-", stdin=objects)
        self.start_component(KUBE_PROXY)
        self._wait_for(KUBELET, lambda: self._prints("True", "node", self.name, "-o", READY))

    def _wait_for(self, name: str, ready: Callable[[], bool]) -> None:
        """Wait for the effect of a program. Raises LocalClusterError with the end of its log if it ends before."""
        self.processes.wait_ready(name, ready, pause=PAUSE)

    def _wait_for_containerd(self) -> None:
        self._wait_for(CONTAINERD, lambda: self.ctr("version", check=False).returncode == 0)

    def _wait_for_services(self) -> None:
        """Wait for kube-proxy, which takes up to a second; a failed pull is retried only after ten."""
        self._wait_for(KUBE_PROXY, lambda: self.answers(API_SERVER[self.families.first], 443))

    def _wait_for_names(self) -> None:
        deployment = ("-n", "kube-system", "deployment", "coredns", "-o", "jsonpath={.status.readyReplicas}")
        self.wait_for("CoreDNS is ready", lambda: self._prints("1", *deployment))
        self.wait_for("CoreDNS' Service answers", lambda: self.answers(DNS[self.families.first], 53))

    def _prints(self, expected: str, *arguments: str) -> bool:
        return self.cluster.run_kubectl("get", *arguments, check=False).stdout == expected

    def _containerd(self) -> list[str]:
        return [str(self.runtime.containerd), f"--config={runtime.CONFIGURATION}"]

    def _kubelet(self) -> list[str]:
        return [
            str(self._layout.bin / KUBELET),
            f"--config={self._settings(KUBELET)}",
            f"--kubeconfig={self._layout.kubeconfigs / KUBELET}",
            f"--hostname-override={self.name}",
            f"--node-ip={','.join(self.addresses)}",
        ]

    def _kube_proxy(self) -> list[str]:
        return [str(self._layout.bin / KUBE_PROXY), f"--config={self._settings(KUBE_PROXY)}"]

    def _settings(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _write_settings(self, name: str, settings: Json) -> None:
        self._settings(name).write_text(json.dumps(settings, indent=1))  # JSON is YAML

    def _write_kubeconfig(self, name: str, identity: Identity) -> None:
        kubeconfig.write(self._layout.kubeconfigs / name, self.cluster.url, self.cluster.ca_file, identity)

    def _timed(self, step: str, action: Callable[[], object]) -> None:
        begun = time.monotonic()
        action()
        self.timings[step] = time.monotonic() - begun
