"""Assert that all objects of a mirror contain its values and nothing else from them."""

from __future__ import annotations

import base64
import json
import tomllib
from typing import TYPE_CHECKING, Any

from common.cache_protocol import PORT
from controller.desired import desired_objects
from controller.desired.cache_config import cache_config
from controller.objects import well_known
from controller.objects.resources import DAEMON_SET, SECRET, STATEFUL_SET
from hostess.containerd import hosts_toml
from hostess.hostsfile import hosts_block
from hostess.settings import read
from tests.support.controller import parsed

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.inputs import Inputs
    from controller.model.mirror import Mirror
    from controller.settings import ControllerSettings


HOSTS = b"127.0.0.1\tlocalhost\n"
ADDRESS = "10.96.0.7"


def assert_in_place(mirror: Mirror, settings: ControllerSettings, inputs: Inputs) -> None:
    """Check every file and variable that contains a value of the mirror."""
    objects = {kind: body for kind, body in desired_objects(mirror, settings, inputs) if kind in (SECRET, DAEMON_SET)}
    data = {key: base64.b64decode(value) for key, value in objects[SECRET]["data"].items() if value}
    assert_configuration(mirror, settings, json.loads(data[well_known.CONFIGURATION]))
    if DAEMON_SET in objects:
        assert_agent(mirror, settings, inputs, objects[DAEMON_SET])


def assert_configuration(mirror: Mirror, settings: ControllerSettings, document: Json) -> None:
    """Assert that the cache's configuration differs only by the values of the mirror."""
    meant = json.loads(cache_config(parsed(), settings))
    pods = [f"{mirror.object_name}-{ordinal}" for ordinal in range(mirror.spec.replicas)]
    domain = f"{mirror.object_name}-headless.{settings.namespace}.svc"
    meant |= {"ttl": mirror.spec.ttl, "maxSize": mirror.storage}
    meant["upstreams"][0] |= {"host": mirror.upstream.image_host, "url": mirror.upstream.url}
    meant["peers"]["members"] = {pod: f"https://{pod}.{domain}:{PORT}" for pod in pods}
    meant["peers"]["serverName"] = mirror.masquerade
    assert document == {**meant, "peers": meant["peers"] if mirror.spec.replicas > 1 else None}


def assert_agent(mirror: Mirror, settings: ControllerSettings, inputs: Inputs, daemon_set: Json) -> None:
    """Assert that the agent accepts its environment and writes the expected files."""
    (container,) = daemon_set["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    assert len(container["env"]) == len({each["name"] for each in container["env"]})
    agent = read({**environment, "KUBERNETES_SERVICE_HOST": "10.96.0.1"})
    assert (agent.mirror, agent.masquerade, agent.namespace) == (mirror.name, mirror.masquerade, settings.namespace)
    assert agent.upstream_url == mirror.upstream.url
    assert agent.upstream_host == ("" if inputs.images_holder else mirror.upstream.image_host)
    block = (
        f"# BEGIN registry-mirror {mirror.name}\n{ADDRESS}\t{mirror.masquerade}\n# END registry-mirror {mirror.name}\n"
    )
    assert hosts_block.with_entry(HOSTS, agent.mirror, agent.masquerade, [ADDRESS]) == HOSTS + block.encode()
    written = hosts_toml.render(agent.mirror, agent.masquerade, "/ca.crt", hosts_toml.Upstream(agent.upstream_url))
    tables = {"capabilities": ["pull", "resolve"], "ca": "/ca.crt", "dial_timeout": hosts_toml.DIAL_TIMEOUT}
    assert tomllib.loads(written) == {
        "server": mirror.upstream.url,
        "host": {f"https://{mirror.masquerade}": tables},
    }


def pods_of(objects: list[tuple[Any, Json]]) -> list[Json]:
    """Return the pod templates among these objects."""
    return [body["spec"]["template"]["spec"] for kind, body in objects if kind in (STATEFUL_SET, DAEMON_SET)]
