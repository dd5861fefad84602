"""Static files of a face: read once, compressed once, named by their content so that browsers keep them."""

from __future__ import annotations

import gzip
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
FOREVER = "public, max-age=31536000, immutable"


class Asset(NamedTuple):
    body: bytes
    gzipped: bytes
    content_type: str
    version: str


class Assets:
    """Everything in ``folder`` with a known suffix, served under ``prefix``.

    Modules import each other by bare file name; those addresses carry no version, so they are checked by
    ETag.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self.prefix = prefix.rstrip("/")
        self.files: dict[str, Asset] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix in TYPES:
                body = path.read_bytes()
                version = blake2b(body, digest_size=6).hexdigest()
                packed = gzip.compress(body, 9, mtime=0)
                self.files[path.name] = Asset(body, packed, TYPES[path.suffix], version)

    def url(self, name: str) -> str:
        """The address to put into a page; raises ``KeyError`` for a file that is not there."""
        return f"{self.prefix}/{name}?v={self.files[name].version}"

    def respond(self, request: Request) -> Response:
        """The endpoint behind ``{prefix}/{name}``."""
        name = request.path_params["name"]
        asset = self.files.get(name)
        if asset is None:
            raise HTTPException(404)
        etag = f'"{asset.version}"'
        fresh = request.query_params.get("v") == asset.version
        headers = {"etag": etag, "vary": "accept-encoding", "cache-control": FOREVER if fresh else "no-cache"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            return Response(asset.gzipped, media_type=asset.content_type, headers=headers)
        return Response(asset.body, media_type=asset.content_type, headers=headers)
