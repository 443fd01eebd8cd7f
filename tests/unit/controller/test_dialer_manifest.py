"""Compare deploy/dialer.yaml with the agents that the controller creates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from common.agent_protocol import DIALER_SOCKET
from controller.desired.agent_nodes import agent_affinity
from controller.desired.daemon_set import LOCK_DIRECTORY, daemon_set
from tests.support.controller import parsed, settings

if TYPE_CHECKING:
    from common.types import Json

DEPLOY = Path(__file__).parents[3] / "deploy"
_, DIALER = yaml.safe_load_all((DEPLOY / "dialer.yaml").read_text())
POD = DIALER["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
AGENT = daemon_set(parsed(), settings(HOSTESS_DOCKER_IMAGE="registry-mirror/hostess"))["spec"]["template"]["spec"]


def test_agents_ask_the_socket_of_the_dialer() -> None:
    """Both mount the same folder of the node at the same path."""
    (socket,) = (each["value"] for each in CONTAINER["env"] if each["name"] == DIALER_SOCKET)
    asked = {each["name"]: each.get("value") for each in AGENT["containers"][-1]["env"]}[DIALER_SOCKET]
    assert socket.replace("$(NAMESPACE)", settings().namespace) == asked
    (volume,) = POD["volumes"]
    assert volume in AGENT["volumes"]
    assert CONTAINER["volumeMounts"] == [{"name": volume["name"], "mountPath": LOCK_DIRECTORY}]


def _excluded(affinity: Json) -> list[Json]:
    (term,) = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert affinity.keys() == {"nodeAffinity"}
    return [{key: each[key] for key in ("key", "operator", "values")} for each in term["matchExpressions"]]


def test_dialer_runs_where_agents_run() -> None:
    """The order of the terms is that of Helm."""
    dialers, agents = _excluded(POD["affinity"]), _excluded(agent_affinity(()))
    assert sorted(dialers, key=str) == sorted(agents, key=str)
    for key in ("nodeSelector", "tolerations", "enableServiceLinks"):
        assert POD[key] == AGENT[key]
    assert POD["priorityClassName"] == "registrymirror-mirrors"


def test_dialer_has_no_other_power() -> None:
    """It has the network of the node, but no token, no capability, no other namespace of the node."""
    assert POD["hostNetwork"] is True
    assert POD["automountServiceAccountToken"] is False
    assert not {"hostPID", "hostIPC"} & POD.keys()
    confined = {key: value for key, value in AGENT["containers"][-1]["securityContext"].items() if value is not None}
    confined["capabilities"] = {"drop": ["ALL"]}
    assert CONTAINER["securityContext"] == confined
    assert "ports" not in CONTAINER
