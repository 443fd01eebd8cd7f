"""Write kubeconfig files."""

import json
from pathlib import Path

from tests.localcluster.pki import Identity


def write(path: Path, url: str, ca_file: Path, identity: Identity) -> None:
    """Write a kubeconfig for one user of one cluster.

    It names the files of certificate and key: Python clients write embedded ones to temporary files.
    """
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": {"server": url, "certificate-authority": str(ca_file)}}],
        "users": [
            {"name": "user", "user": {"client-certificate": str(identity.certificate), "client-key": str(identity.key)}}
        ],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "user"}}],
        "current-context": "local",
    }
    path.write_text(json.dumps(config, indent=1))  # JSON is YAML
