"""Define the two container runtimes: containerd 1.6 of Debian, and containerd 2 from Go modules."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.types import Json
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.families import ALL, POD_RANGE, Families
from tests.localcluster.node import debian, images, programs
from tests.localcluster.node.sandbox import PATH

DEBIAN, MODULES = "containerd-1.6", "containerd-2"
FLAVOURS = (DEBIAN, MODULES)
SOCKET = "/run/containerd/containerd.sock"
CNI_PLUGINS = "/usr/lib/cni"
CNI_FOLDER = "/etc/cni/net.d"
CONFIGURATION = "/etc/containerd/config.toml"  # in the node's /etc; the agent reads it too
TWO_ROOTS = "/etc/containerd/certs.d:/etc/docker/certs.d"  # the default of 2.2 and newer
ONE_ROOT = "/etc/containerd/certs.d"
BY_DEFAULT = "as containerd has it by default"  # for config_path: no registry section in the configuration


@dataclass(frozen=True)
class Runtime:
    """The files of a runtime. `config_path` is where containerd finds hosts.toml, empty for none.

    BY_DEFAULT leaves it to containerd: two folders since 2.2, none in 1.6.
    """

    flavour: str
    containerd: Path
    ctr: Path
    runc: Path
    folders: tuple[Path, ...]
    config_path: str

    @property
    def path(self) -> str:
        """Return the PATH with containerd's shim."""
        return ":".join([*map(str, self.folders), PATH])

    def configuration(self, folder: Path) -> str:
        """Return containerd's config.toml with its data in `folder`."""
        template, registry = CONFIGURATIONS[self.flavour]
        values = {
            "root": f"{folder}/containerd",
            "opt": f"{folder}/containerd-opt",
            "socket": SOCKET,
            "pause": images.PAUSE_IMAGE,
            "plugins": CNI_PLUGINS,
            "networks": CNI_FOLDER,
            "config_path": self.config_path,
            "runc": str(self.runc),
        }
        template += "" if self.config_path == BY_DEFAULT else registry
        # A JSON string is a TOML string.
        return template.format(**{name: json.dumps(value) for name, value in values.items()})


def find(flavour: str, config_path: str | None = None, environment: Mapping[str, str] = os.environ) -> Runtime:
    """Return the runtime of a flavour; build it if needed.

    If `config_path` is None, it is one that works: containerd 2 reads its default of two folders as one name.
    """
    debian.install()
    if flavour == DEBIAN:
        path = TWO_ROOTS if config_path is None else config_path
        return Runtime(flavour, Path("/usr/bin/containerd"), Path("/usr/bin/ctr"), Path("/usr/sbin/runc"), (), path)
    if flavour != MODULES:
        raise LocalClusterError(f"There is no runtime {flavour}: name one of {', '.join(FLAVOURS)}.")
    containerd, shim, ctr = (programs.build(each, environment) for each in programs.CONTAINERD_2)
    runc = programs.build(programs.RUNC, environment)
    folders = tuple(file.parent for file in (containerd, shim, runc))
    return Runtime(flavour, containerd, ctr, runc, folders, ONE_ROOT if config_path is None else config_path)


# restrict_oom_score_adj: without CAP_SYS_RESOURCE runc fails to lower its score.
CONFIGURATION_1 = """version = 2
root = {root}
state = "/run/containerd"
[grpc]
  address = {socket}
[plugins."io.containerd.internal.v1.opt"]
  path = {opt}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {pause}
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {plugins}
    conf_dir = {networks}
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = {runc}
      SystemdCgroup = false
"""

CONFIGURATION_2 = """version = 3
root = {root}
state = "/run/containerd"
[grpc]
  address = {socket}
[plugins."io.containerd.internal.v1.opt"]
  path = {opt}
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = {pause}
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [{plugins}]
    conf_dir = {networks}
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = {runc}
      SystemdCgroup = false
"""

REGISTRY_1 = """[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = {config_path}
"""

REGISTRY_2 = """[plugins."io.containerd.cri.v1.images".registry]
  config_path = {config_path}
"""

CONFIGURATIONS = {DEBIAN: (CONFIGURATION_1, REGISTRY_1), MODULES: (CONFIGURATION_2, REGISTRY_2)}


def pod_network(families: Families) -> Json:
    """Return the CNI configuration: each pod has an address of each family."""
    ipam = {
        "type": "host-local",
        "dataDir": "/run/cni-ipam",
        "ranges": [[{"subnet": subnet}] for subnet in families.each(POD_RANGE)],
        "routes": [{"dst": destination} for destination in families.each(ALL)],
    }
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {"type": "ptp", "ipMasq": False, "ipam": ipam},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
