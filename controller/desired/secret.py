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
    """Return the Secret with all files of a cache pod, and the CA for nodes. It has no other keys."""
    pair = inputs.tls.pair if inputs.tls.secret is None else None
    data = {
        well_known.CONFIGURATION: _base64(cache_config(mirror, settings)),
        **_accounts(mirror, inputs),
        well_known.CERTIFICATE: _base64(pair.certificate) if pair else None,
        well_known.KEY: _base64(pair.key) if pair else None,
        well_known.CA: _base64(inputs.tls.ca),
    }
    return with_metadata(SECRET, mirror, settings, {"type": "Opaque", "data": data})


def _accounts(mirror: Mirror, inputs: Inputs) -> Json:
    """Return user name and password of each upstream that has them."""
    found: Json = {}
    for source, credentials in zip(mirror.sources, inputs.credentials, strict=False):
        if credentials.username:
            keys = well_known.credentials_keys(source.upstream.directory)
            found |= dict(zip(keys, (credentials.username, credentials.password), strict=True))
    return found


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
