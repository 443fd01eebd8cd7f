"""Serve the bare application that the webhook is compared with: `python -m benchmarks.bare PORT CERTIFICATE KEY`.

It is a Starlette application on uvicorn with uvloop and httptools. It parses a review, allows it and logs one line.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

log = logging.getLogger("bare")


async def review(request: Request) -> JSONResponse:
    """Allow a review."""
    document = await request.json()
    uid = document["request"]["uid"]
    log.info("review uid=%s operation=%s allowed=true", uid, document["request"]["operation"])
    response = {"uid": uid, "allowed": True}
    return JSONResponse({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})


async def ready(_request: Request) -> JSONResponse:
    """Answer a probe."""
    return JSONResponse({})


def main() -> None:
    """Serve over TLS until SIGTERM."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s")
    port, certificate, key = sys.argv[1:]
    routes = [
        Route("/validate", review, methods=["POST"]),
        Route("/mutate", review, methods=["POST"]),
        Route("/readyz", ready),
    ]
    uvicorn.run(
        Starlette(routes=routes),
        host="127.0.0.1",
        port=int(port),
        loop="uvloop",
        http="httptools",
        log_config=None,
        log_level="warning",
        access_log=False,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )


if __name__ == "__main__":
    main()
