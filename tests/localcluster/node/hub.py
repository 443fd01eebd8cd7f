"""Run a registry in the place of Docker Hub."""

from tests.localcluster.node.accounts import Account
from tests.localcluster.node.inside import Inside
from tests.localcluster.node.upstream import PUBLIC, Upstream

HUB = "registry-1.docker.io"


def docker_hub(node: Inside, number: int = 2, account: Account | None = None) -> Upstream:
    """Return a registry with the names of Docker Hub and its tokens; pulls need no account."""
    return Upstream(
        node,
        HUB,
        number,
        account or Account(),
        tokens=True,
        public=True,
        auth_host="auth.docker.io",
        ca=PUBLIC,
    )
