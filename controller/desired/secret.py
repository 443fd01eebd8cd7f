"""Build the Secret of a mirror: configuration, credentials and serving certificate of its cache."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from controller.desired.cache_config import cache_config
from controller.desired.object_metadata import with_metadata
from controller.objects import well_known
from controller.objects.resources import SECRET

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.inputs import Inputs
    from controller.model.mirror import Mirror
    from controller.settings import ControllerSettings


def secret(mirror: Mirror, settings: ControllerSettings, inputs: Inputs) -> Json:
    """Return the Secret with all files of a cache pod, and the CA for nodes. Empty values are removed."""
    pair = inputs.tls.pair if inputs.tls.secret is None else None
    texts = {
        well_known.CONFIGURATION: cache_config(mirror, settings),
        well_known.USERNAME: inputs.credentials.username,
        well_known.PASSWORD: inputs.credentials.password,
        well_known.CERTIFICATE: pair.certificate if pair else "",
        well_known.KEY: pair.key if pair else "",
        well_known.CA: inputs.tls.ca,
    }
    data = {key: base64.b64encode(text.encode()).decode() or None for key, text in texts.items()}
    return with_metadata(SECRET, mirror, settings, {"type": "Opaque", "data": data})
