"""An OpenID provider on the loopback that does as it is told, lies included."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

SECRET = "the client's own secret"
KEY = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})
OTHER = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})
Claims = dict[str, Any]


class FakeProvider:
    """What a test may change: ``claims`` adds to the identity token, ``sign`` makes it, ``metadata`` changes
    what the provider says about itself, ``answers`` replaces whole answers by path, ``keys`` are published.
    ``asked`` are the requests that came in."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.claims: Claims = {"email": "ada@example.org", "email_verified": True}
        self.userinfo: Claims = {}
        self.sign: Callable[[Claims], str] = signed
        self.metadata: dict[str, Any] = {}
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.keys = [KEY]
        self.asked: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}

    def consent(self, address: str) -> str:
        """What the person does there: sign in. Where the browser is sent back to."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        code = f"code-{len(self._codes)}"
        self._codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def answer(self, method: str, path: str, body: bytes, headers: Any) -> tuple[int, bytes]:
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path]
        if path == "/.well-known/openid-configuration":
            return 200, json.dumps(
                {
                    "issuer": self.url,
                    "authorization_endpoint": f"{self.url}/authorize",
                    "token_endpoint": f"{self.url}/token",
                    "jwks_uri": f"{self.url}/jwks",
                    "userinfo_endpoint": f"{self.url}/userinfo",
                    "end_session_endpoint": f"{self.url}/logout",
                    "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
                }
                | self.metadata
            ).encode()
        if path == "/jwks":
            return 200, json.dumps(KeySet(self.keys).as_dict(private=False)).encode()
        if path == "/userinfo":
            assert headers["authorization"] == "Bearer the access token"
            return 200, json.dumps({"sub": "subject-1"} | self.userinfo).encode()
        if path == "/token":
            return self._token(parse_qs(body.decode()), headers.get("authorization", ""))
        return 404, b""

    def _token(self, form: dict[str, list[str]], authorization: str) -> tuple[int, bytes]:
        begun = self._codes.pop(form.get("code", [""])[0], None)
        proof = hashlib.sha256(form.get("code_verifier", [""])[0].encode()).digest()
        challenge = base64.urlsafe_b64encode(proof).decode().rstrip("=")
        basic = "Basic " + base64.b64encode(f"opportune:{SECRET}".encode()).decode()
        known = authorization == basic or form.get("client_secret") == [SECRET]
        if (
            begun is None
            or not known
            or challenge != begun["code_challenge"]
            or form.get("redirect_uri") != [begun["redirect_uri"]]
        ):
            return 400, b'{"error": "invalid_grant"}'
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": "opportune", "sub": "subject-1", "iat": now, "exp": now + 300,
            "nonce": begun["nonce"],
        } | self.claims  # fmt: skip
        answer = {"access_token": "the access token", "token_type": "Bearer", "id_token": self.sign(claims)}
        return 200, json.dumps(answer).encode()


def signed(claims: Claims) -> str:
    return jwt.encode({"alg": "RS256", "kid": "k1"}, claims, KEY)


def part(value: Claims) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@contextmanager
def fake_provider() -> Iterator[FakeProvider]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, answer = provider.answer(self.command, urlsplit(self.path).path, body, self.headers)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = FakeProvider(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
