"""Registries outside the cluster: processes in the node's network, each at an address of its own, port 443, by TLS."""

import ctypes
import ctypes.util
import json
import secrets
import string
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy.local.layout import Layout
from deploy.local.node import archive, programs, tokens
from deploy.local.node.inside import Inside
from deploy.local.node.testimages import sized_image
from deploy.local.node.tokens import Settings
from deploy.local.pki import Authority, Identity

REPOSITORY = Path(__file__).parents[3]
HTTPS = 443
TOKENS_PORT = 8443  # of the token server, on the registry's address and under its name
ISSUER = "local.test"

Json = dict[str, Any]


@dataclass(frozen=True)
class Account:
    """Who may pull and push."""

    username: str = "puller"
    password: str = "s3cret"  # noqa: S105 - of a registry that lives for one test


class Upstream:
    """A registry called `host` at `address`, with accounts; started and stopped as often as one likes, data kept.

    `number` is that of its address in the node's network, 2 to 253, one a registry. By `tokens` it sends clients to a
    token server, as Docker Hub does, else it takes passwords itself; `public`: by token, whoever has no account may
    pull. Without an `account` it lets everybody do everything.
    """

    def __init__(
        self,
        node: Inside,
        host: str,
        number: int = 2,
        account: Account | None = None,
        *,
        tokens: bool = False,
        public: bool = False,
    ) -> None:
        self.node = node
        self.host = host
        self.address = node.sandbox.link.address(number)
        self.account = account
        self.tokens = tokens
        self.public = public
        self.folder = node.folder / f"upstream-{host}"

    @property
    def ca_file(self) -> Path:
        """The authority of its certificate: the cluster's, which nobody trusts unless told to."""
        return self.node.cluster.ca_file

    @property
    def log(self) -> Path:
        """The file with a line for each request, as Apache has them: `... "GET /v2/lib/manifests/1 HTTP/1.1" 200`."""
        return self.node.processes.log(self._name)

    def prepare(self) -> "Upstream":
        """Give it an address and a name that node and pods know; returns itself."""
        self.folder.mkdir(parents=True)
        # by way of /32: a second address of the same network would become the source of the node's own packets
        self.node.run("ip", "address", "add", f"{self.address}/32", "dev", "eth0")
        self.node.add_name(self.host, self.address)
        Authority(Layout(self.node.cluster.folder).ca).server(self.host, [self.host, self.address])
        self._config.write_text(json.dumps(self._configuration()))  # JSON is YAML
        return self

    def start(self) -> "Upstream":
        """Start it; returns itself when it takes connections."""
        if self.tokens:
            self._start_tokens()
        binary = programs.build(programs.REGISTRY)
        self.node.sandbox.launch(
            self._name, [str(binary), "serve", str(self._config)], {"OTEL_TRACES_EXPORTER": "none"}
        )
        self.node.wait_for(f"{self.host} answers", lambda: self.node.answers(self.address, HTTPS))
        return self

    def stop(self) -> None:
        """End it: connections are refused from now on."""
        for name in (self._name, self._token_name) if self.tokens else (self._name,):
            self.node.sandbox.end(name)

    def push(self, name: str, megabytes: tuple[float, ...] = (0.1,)) -> str:
        """Push an image `path:tag` with a layer of random bytes for each size, upon busybox; return its full name.

        /marker in it holds its full name.
        """
        full = f"{self.host}/{name}"
        path = self.folder / "pushed.tar"
        archive.write(sized_image(full, megabytes), path)
        self.push_archive(path, full)
        path.unlink()
        return full

    def push_archive(self, path: Path, full: str) -> None:
        """Push an OCI archive under a full name."""
        certificates = self.folder / "ca"
        certificates.mkdir(exist_ok=True)
        certificates.joinpath("ca.crt").write_bytes(self.ca_file.read_bytes())
        who = [f"--dest-creds={self.account.username}:{self.account.password}"] if self.account else []
        copy = ["skopeo", "--insecure-policy", "copy", "--quiet", f"--dest-cert-dir={certificates}", *who]
        self.node.run(*copy, f"oci-archive:{path}", f"docker://{full}")

    def requests(self, method: str = "GET", part: str = "/v2/") -> int:
        """Return how many requests of that method it has answered whose path has `part` in it."""
        lines = self.log.read_text(errors="replace").splitlines()
        return sum(f'"{method} /' in line and part in line for line in lines)

    @property
    def _name(self) -> str:
        return f"upstream-{self.host}"

    @property
    def _token_name(self) -> str:
        return f"tokens-{self.host}"

    @property
    def _config(self) -> Path:
        return self.folder / "config.json"

    @property
    def _identity(self) -> Identity:
        pki = Layout(self.node.cluster.folder).pki
        return Identity(pki / f"{self.host}.crt", pki / f"{self.host}.key")

    def _start_tokens(self) -> None:
        account = f"{self.account.username}:{self.account.password}" if self.account else ":"
        settings = Settings(
            address=self.address,
            port=TOKENS_PORT,
            issuer=ISSUER,
            account=account,
            public=self.public,
            certificate=str(self._identity.certificate),
            key=str(self._identity.key),
        )
        command = [sys.executable, "-m", tokens.__name__, json.dumps(asdict(settings))]
        self.node.sandbox.launch(self._token_name, command, {"PYTHONPATH": str(REPOSITORY)})
        self.node.wait_for(
            f"the token server of {self.host} answers", lambda: self.node.answers(self.address, TOKENS_PORT)
        )

    def _configuration(self) -> Json:
        tls = {"certificate": str(self._identity.certificate), "key": str(self._identity.key)}
        return {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": False}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.folder / "data")},
                "delete": {"enabled": True},
            },
            "http": {"addr": f"{self.address}:{HTTPS}", "tls": tls, "draintimeout": "1s"},
            **self._auth(),
        }

    def _auth(self) -> Mapping[str, Json]:
        if self.tokens:
            token = {
                "realm": f"https://{self.host}:{TOKENS_PORT}/token",
                "service": self.host,
                "issuer": ISSUER,
                "rootcertbundle": str(self.ca_file),
            }
            return {"auth": {"token": token}}
        if self.account:
            passwords = self.folder / "htpasswd"
            passwords.write_text(_htpasswd(self.account))
            return {"auth": {"htpasswd": {"realm": self.host, "path": str(passwords)}}}
        return {}


def _htpasswd(account: Account) -> str:
    """Return the line of an htpasswd file, by bcrypt, which is all that the registry takes.

    libcrypt does it, since Python has lost its way to it; 4 is the least work that bcrypt knows, done for each request.
    """
    library = ctypes.CDLL(ctypes.util.find_library("crypt"))
    library.crypt.restype = ctypes.c_char_p
    salt = "".join(secrets.choice(string.ascii_letters) for _ in range(21))
    hashed = library.crypt(account.password.encode(), f"$2y$04${salt}.".encode())
    return f"{account.username}:{hashed.decode()}\n"
