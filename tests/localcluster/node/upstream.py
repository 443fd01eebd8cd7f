"""Run registries outside the cluster: processes in the node's network, each with its own address and TLS at port 443.

hub = Upstream(node, "registry-1.docker.io", tokens=True, public=True, ca=PUBLIC).prepare().start()
image = hub.push("library/test:1", (5.0,))       # docker.io/library/test:1
hub.fault(503); hub.fault("hang"); hub.fault("truncate"); hub.fault(None); hub.slow(2_000_000)
hub.count("blob"), hub.bytes("blob"), hub.count("ping", "token"), hub.stop()
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common.types import Json
from tests.localcluster.layout import Layout
from tests.localcluster.node import archive, front, programs, tokens
from tests.localcluster.node.accounts import Account, htpasswd
from tests.localcluster.node.faults import TOKEN_PATH, Faults, Record
from tests.localcluster.node.inside import Inside
from tests.localcluster.node.link import with_prefix
from tests.localcluster.node.public_ca import public_ca, public_ca_file
from tests.localcluster.node.testimages import sized_image
from tests.localcluster.pki import CertificateAuthority

__all__ = ["CLUSTER", "PUBLIC", "Account", "Upstream"]

REPOSITORY = Path(__file__).parents[3]
HTTPS = 443
REGISTRY_PORTS, TOKENS_PORTS = 5000, 6000  # at 127.0.0.1 in the node, plus the upstream's number
ISSUER = "local.test"
# Registries whose images have another host name.
IMAGE_HOSTS = {"registry-1.docker.io": "docker.io"}
CLUSTER, PUBLIC = "cluster", "public"


class Upstream:
    """A registry called `host` at `address`. It can be stopped and started and keeps its data.

    `number` is the host number of its address in the node's network, 2 to 253. With `tokens` it uses a token server at
    `auth_host`, as Docker Hub does, else passwords. `public` allows pulls without an account. Without `account`
    everything is allowed. `ca` is CLUSTER, which is not trusted by default, or PUBLIC, which node, caches and our
    programs trust. A `front` counts requests and simulates faults; `direct` leaves it out, for benchmarks, and has no
    tokens. `family` is that of its address, by default the cluster's primary one.
    """

    def __init__(  # noqa: PLR0913 - properties that tests choose
        self,
        node: Inside,
        host: str,
        number: int = 2,
        account: Account | None = None,
        *,
        tokens: bool = False,
        public: bool = False,
        auth_host: str | None = None,
        ca: str = CLUSTER,
        direct: bool = False,
        family: str | None = None,
    ) -> None:
        self.node = node
        self.host = host
        self.number = number
        self.address = node.sandbox.link.address(number, family or node.families.first)
        self.account = account
        self.tokens = tokens
        self.public = public
        self.auth_host = auth_host or host
        self.ca = ca
        self.direct = direct
        self.image_host = IMAGE_HOSTS.get(host, host)
        self.folder = node.folder / f"upstream-{host}"

    @property
    def ca_file(self) -> Path:
        """Return the PEM file of the CA of its certificate."""
        return public_ca_file() if self.ca == PUBLIC else self.node.cluster.ca_file

    def prepare(self) -> "Upstream":
        """Add its name to DNS and issue its certificates; return itself."""
        self.folder.mkdir(parents=True)
        for name in {self.host, self.auth_host}:
            self.node.add_name(name, self.address)
        self._issue("serving")
        CertificateAuthority(Layout(self.node.cluster.folder).ca).server("signing", [self.host], self.folder)
        self._config.write_text(json.dumps(self._configuration()))  # JSON is YAML
        return self

    def start(self) -> "Upstream":
        """Start it; return itself when it accepts connections."""
        # A host's prefix: an address with that of the node could become the source of its packets.
        self.node.run("ip", "address", "replace", *with_prefix(self.address, "32", "128"), "dev", "eth0")
        binary = programs.build(programs.REGISTRY)
        command = [str(binary), "serve", str(self._config)]
        self.node.sandbox.launch(self._name, command, {"OTEL_TRACES_EXPORTER": "none"})
        if self.tokens:
            self._start_tokens()
        if not self.direct:
            self._wait("127.0.0.1", self._registry_port)
            self._launch(f"front-{self.host}", front.__name__, vars(self._front()))
        self._wait(self.address, HTTPS)
        return self

    def stop(self) -> None:
        """Stop it: connections are refused."""
        names = [f"front-{self.host}"] * (not self.direct) + [f"tokens-{self.host}"] * self.tokens + [self._name]
        for name in names:
            self.node.sandbox.end(name)

    def fault(self, fault: str | int | None) -> None:
        """Set the fault: a status for all answers, `hang` after accepting, `truncate` blobs, or None.

        Requests that hang end when the fault is None.
        """
        self._set_faults(fault=fault)

    def slow(self, rate: float | None) -> None:
        """Limit all answers together to `rate` bytes per second; None is no limit."""
        self._set_faults(rate=rate)

    def count(self, *kinds: str, method: str | None = None, part: str = "", status: int | None = None) -> int:
        """Return the number of answered requests of these kinds, by default of all.

        The kinds are `manifest`, `blob`, `ping`, `token` and `other`. Filter by `method`, by `part` of the path and by
        `status`. Requests that hang are not counted.
        """
        return sum(
            (not kinds or each.kind in kinds)
            and method in {None, each.method}
            and part in each.path
            and status in {None, each.status}
            for each in self.records()
        )

    def bytes(self, kind: str = "blob") -> int:
        """Return the number of body bytes sent for a kind."""
        return sum(each.size for each in self.records() if each.kind == kind)

    def records(self) -> Iterator[Record]:
        """Return its answers in order, without pushes."""
        file = self.folder / "records"
        lines = file.read_text().splitlines() if file.exists() else []
        return (Record(**json.loads(line)) for line in lines)

    def push(self, name: str, megabytes: tuple[float, ...] = (0.1,)) -> str:
        """Push an image `path:tag` of busybox and a layer of random bytes for each size; return its full name.

        Its file /marker has its full name. Pushing works during a fault, except with tokens.
        """
        full = f"{self.image_host}/{name}"
        path = self.folder / "pushed.tar"
        archive.write(sized_image(full, megabytes), path)
        self.push_archive(path, name)
        path.unlink()
        return full

    def blob_bytes(self, name: str) -> int:
        """Return the bytes of the blobs of an image `path:tag`."""
        image = f"docker://127.0.0.1:{self._registry_port}/{name}"
        manifest = json.loads(self.node.run("skopeo", "inspect", "--raw", "--tls-verify=false", image).stdout)
        return sum(each["size"] for each in (manifest["config"], *manifest["layers"]))

    def push_archive(self, path: Path, name: str) -> None:
        """Push an OCI archive as `path:tag`, not through the front."""
        credentials = [f"--dest-creds={self.account.username}:{self.account.password}"] if self.account else []
        copy = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", *credentials]
        at = f"{self.address}:{HTTPS}" if self.direct else f"127.0.0.1:{self._registry_port}"
        self.node.run(*copy, f"oci-archive:{path}", f"docker://{at}/{name}")

    def _set_faults(self, **change: Any) -> None:
        path = self.folder / "faults"
        Faults(**{**vars(Faults.read(path)), **change}).write(path)

    @property
    def _name(self) -> str:
        return f"upstream-{self.host}"

    @property
    def _registry_port(self) -> int:
        return REGISTRY_PORTS + self.number

    @property
    def _config(self) -> Path:
        return self.folder / "config.json"

    def _issue(self, name: str) -> None:
        ca = public_ca() if self.ca == PUBLIC else CertificateAuthority(Layout(self.node.cluster.folder).ca)
        ca.server(name, sorted({self.host, self.auth_host, self.address}), self.folder)

    def _front(self) -> front.Settings:
        return front.Settings(
            address=self.address,
            port=HTTPS,
            registry=self._registry_port,
            tokens=TOKENS_PORTS + self.number if self.tokens else 0,
            certificate=str(self.folder / "serving.crt"),
            key=str(self.folder / "serving.key"),
            faults=str(self.folder / "faults"),
            records=str(self.folder / "records"),
        )

    def _start_tokens(self) -> None:
        account = f"{self.account.username}:{self.account.password}" if self.account else ":"
        settings = tokens.Settings(
            port=TOKENS_PORTS + self.number,
            issuer=ISSUER,
            account=account,
            public=self.public,
            certificate=str(self.folder / "signing.crt"),
            key=str(self.folder / "signing.key"),
        )
        self._launch(f"tokens-{self.host}", tokens.__name__, vars(settings))
        self._wait("127.0.0.1", settings.port)

    def _launch(self, name: str, module: str, settings: Json) -> None:
        command = [sys.executable, "-m", module, json.dumps(settings)]
        self.node.sandbox.launch(name, command, {"PYTHONPATH": str(REPOSITORY)})

    def _wait(self, address: str, port: int) -> None:
        self.node.wait_for(f"{self.host} answers at port {port}", lambda: self.node.answers(address, port))

    def _configuration(self) -> Json:
        tls = {"certificate": str(self.folder / "serving.crt"), "key": str(self.folder / "serving.key")}
        listening: Json = {"addr": f"127.0.0.1:{self._registry_port}"}
        if self.direct:
            listening = {"addr": f"{self.address}:{HTTPS}", "tls": tls}
        return {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": False}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.folder / "data")},
                "delete": {"enabled": True},
            },
            "http": {**listening, "relativeurls": True, "draintimeout": "1s"},
            **self._auth(),
        }

    def _auth(self) -> Mapping[str, Json]:
        if self.tokens:
            token = {
                "realm": f"https://{self.auth_host}{TOKEN_PATH}",
                "service": self.host,
                "issuer": ISSUER,
                "rootcertbundle": str(self.node.cluster.ca_file),
            }
            return {"auth": {"token": token}}
        if self.account:
            passwords = self.folder / "htpasswd"
            passwords.write_text(htpasswd(self.account))
            return {"auth": {"htpasswd": {"realm": self.host, "path": str(passwords)}}}
        return {}
