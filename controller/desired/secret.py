"""Build the Secret of a mirror: configuration, credentials and serving certificate of its cache."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from controller.desired import registry_config
from controller.desired.object_metadata import with_metadata
from controller.objects import well_known
from controller.objects.resources import SECRET

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.inputs import Credentials, Inputs
    from controller.model.mirror import Mirror
    from controller.settings import ControllerSettings


def secret(mirror: Mirror, settings: ControllerSettings, inputs: Inputs) -> Json:
    """Return the Secret with all files of a cache pod, and the CA for nodes."""
    texts = {
        well_known.CONFIGURATION: registry_config.configuration(mirror),
        well_known.CREDENTIALS: credentials_file(inputs.credentials),
        well_known.HELPER: registry_config.helper(),
        well_known.START: registry_config.start_script(mirror),
        well_known.CA: inputs.tls.ca,
    }
    if inputs.tls.secret is None:
        texts |= {well_known.CERTIFICATE: inputs.tls.pair.certificate, well_known.KEY: inputs.tls.pair.key}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    return with_metadata(SECRET, mirror, settings, {"type": "Opaque", "data": data})


def credentials_file(credentials: Credentials) -> str:
    """Return the output of the credential helper; an empty Username means anonymous."""
    return json.dumps({"Username": credentials.username, "Secret": credentials.password})
