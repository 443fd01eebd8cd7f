"""Assert that all objects of a mirror contain its values and nothing else from them."""

from __future__ import annotations

import base64
import json
import tomllib
from typing import TYPE_CHECKING, Any

from common.agent_protocol import REGISTRIES_ANNOTATION
from common.cache_protocol import PORT
from controller.desired import desired_objects
from controller.desired.cache_config import CONFIGURATION_DIRECTORY, cache_config
from controller.objects import well_known
from controller.objects.resources import DAEMON_SET, SECRET, SERVICE, STATEFUL_SET
from hostess import registries
from hostess.containerd import hosts_toml
from hostess.hostsfile import hosts_block
from hostess.settings import read
from tests.support.controller import parsed

if TYPE_CHECKING:
    from common.types import Json
    from common.upstream import Upstream
    from controller.model.inputs import Inputs
    from controller.model.mirror import Mirror
    from controller.settings import ControllerSettings


HOSTS = b"127.0.0.1\tlocalhost\n"
ADDRESS = "10.96.0.7"


def assert_in_place(mirror: Mirror, settings: ControllerSettings, inputs: Inputs) -> None:
    """Check every file and variable that contains a value of the mirror."""
    objects = desired_objects(mirror, settings, inputs)
    secret = next(body for kind, body in objects if kind is SECRET)
    data = {key: base64.b64decode(value) for key, value in secret["data"].items() if value}
    assert_configuration(mirror, settings, json.loads(data[well_known.CONFIGURATION]))
    if any(kind is DAEMON_SET for kind, _ in objects):
        assert_agent(mirror, settings, inputs, objects)


def assert_configuration(mirror: Mirror, settings: ControllerSettings, document: Json) -> None:
    """Assert that the cache's configuration differs only by the values of the mirror."""
    meant = json.loads(cache_config(parsed(), settings))
    pods = [f"{mirror.object_name}-{ordinal}" for ordinal in range(mirror.spec.replicas)]
    domain = f"{mirror.object_name}-headless.{settings.namespace}.svc"
    meant |= {"ttl": mirror.spec.ttl, "maxSize": mirror.storage}
    meant["upstreams"] = [_upstream(each.upstream) for each in mirror.sources]
    meant["peers"]["members"] = {pod: f"https://{pod}.{domain}:{PORT}" for pod in pods}
    meant["peers"]["serverName"] = mirror.masquerade
    assert document == {**meant, "peers": meant["peers"] if mirror.spec.replicas > 1 else None}


def _upstream(upstream: Upstream) -> Json:
    account = f"{CONFIGURATION_DIRECTORY}/{upstream.directory}"
    login = {"username": f"{account}.username", "password": f"{account}.password"}
    return {"host": upstream.image_host, "url": upstream.url, "credentials": login}


def assert_agent(mirror: Mirror, settings: ControllerSettings, inputs: Inputs, objects: list[tuple[Any, Json]]) -> None:
    """Assert that the agent accepts its environment and its Service, and writes the expected files."""
    daemon_set, service = (next(body for kind, body in objects if kind is each) for each in (DAEMON_SET, SERVICE))
    (container,) = daemon_set["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    assert len(container["env"]) == len({each["name"] for each in container["env"]})
    agent = read({**environment, "KUBERNETES_SERVICE_HOST": "10.96.0.1"})
    assert (agent.mirror, agent.masquerade, agent.namespace) == (mirror.name, mirror.masquerade, settings.namespace)
    found = registries.parse(service["metadata"]["annotations"][REGISTRIES_ANNOTATION])
    assert found is not None
    assert [each.url for each in found] == [each.upstream.url for each in mirror.sources]
    hosts = [each.upstream.image_host for each in mirror.sources]
    elsewhere = hosts if settings.hostess_is_original else inputs.images_holders
    assert [each.host for each in found] == ["" if host in elsewhere else host for host in hosts]
    block = (
        f"# BEGIN registry-mirror {mirror.name}\n{ADDRESS}\t{mirror.masquerade}\n# END registry-mirror {mirror.name}\n"
    )
    assert hosts_block.with_entry(HOSTS, agent.mirror, agent.masquerade, [ADDRESS]) == HOSTS + block.encode()
    written = hosts_toml.render(agent.mirror, agent.masquerade, "/ca.crt", hosts_toml.Upstream(found[0].url))
    tables = {"capabilities": ["pull", "resolve"], "ca": "/ca.crt", "dial_timeout": hosts_toml.DIAL_TIMEOUT}
    assert tomllib.loads(written) == {
        "server": mirror.upstream.url,
        "host": {f"https://{mirror.masquerade}": tables},
    }


def pods_of(objects: list[tuple[Any, Json]]) -> list[Json]:
    """Return the pod templates among these objects."""
    return [body["spec"]["template"]["spec"] for kind, body in objects if kind in (STATEFUL_SET, DAEMON_SET)]
