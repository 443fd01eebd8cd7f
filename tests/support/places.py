"""Assert that all objects of a mirror contain its values and nothing else from them."""

from __future__ import annotations

import base64
import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

from controller.desired import desired_objects, entrypoint, registry_config
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


# Has no special character of a shell.
PLAIN = re.compile(r"[a-z]+=[A-Za-z0-9/._-]+")
HOSTS = b"127.0.0.1\tlocalhost\n"
ADDRESS = "10.96.0.7"


def assert_in_place(mirror: Mirror, settings: ControllerSettings, inputs: Inputs) -> None:
    """Check every file and variable that contains a value of the mirror."""
    objects = {kind: body for kind, body in desired_objects(mirror, settings, inputs) if kind in (SECRET, DAEMON_SET)}
    data = {key: base64.b64decode(value).decode() for key, value in objects[SECRET]["data"].items()}
    assert set(data) <= well_known.ALL
    assert_configuration(mirror, json.loads(data[well_known.CONFIGURATION]))
    credentials = {"Username": inputs.credentials.username, "Secret": inputs.credentials.password}
    assert json.loads(data[well_known.CREDENTIALS]) == credentials
    assert_start(data[well_known.START])
    assert data[well_known.HELPER] == registry_config.helper()
    if DAEMON_SET in objects:
        assert_agent(mirror, settings, inputs, objects[DAEMON_SET])


def assert_configuration(mirror: Mirror, document: Json) -> None:
    """Assert that the registry configuration differs only by three values of the mirror."""
    meant = json.loads(registry_config.configuration(parsed()))
    meant["proxy"] |= {"remoteurl": mirror.upstream.url, "ttl": mirror.spec.ttl}
    meant["storage"]["filesystem"]["rootdirectory"] = f"{registry_config.DATA_DIRECTORY}/{mirror.upstream.directory}"
    assert document == meant


def assert_start(script: str) -> None:
    """Assert that the script differs only by its first lines, which are plain text to a shell."""
    head, _, rest = script.partition("\n\n")
    first, *values = head.splitlines()
    assert first == "#!/bin/sh"
    assert all(PLAIN.fullmatch(line) for line in values), values
    assert f"\n{rest}" == entrypoint._SCRIPT


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
