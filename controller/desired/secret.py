"""The Secret of a mirror: configuration, credentials and certificate of its cache, in one object."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from controller.desired import files
from controller.desired.frame import framed
from controller.kinds import SECRET

if TYPE_CHECKING:
    from controller.facts import Credentials, Facts
    from controller.mirror import Mirror
    from controller.settings import ControllerSettings

Json = dict[str, Any]


def secret(mirror: Mirror, settings: ControllerSettings, facts: Facts) -> Json:
    """All that a cache pod reads, and the authority that nodes trust it by."""
    texts = {
        files.CONFIGURATION: files.configuration(mirror),
        files.CREDENTIALS: credentials_file(facts.credentials),
        files.HELPER: files.helper(),
        files.START: files.start_script(mirror),
        files.AUTHORITY: facts.tls.authority,
    }
    if facts.tls.secret is None:
        texts |= {files.CERTIFICATE: facts.tls.pair.certificate, files.KEY: facts.tls.pair.key}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    return framed(SECRET, mirror, settings, {"type": "Opaque", "data": data})


def credentials_file(credentials: Credentials) -> str:
    """Answer of a credential helper; an empty Username means anonymous."""
    return json.dumps({"Username": credentials.username, "Secret": credentials.password})
