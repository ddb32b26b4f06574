"""An identity provider on loopback that says whatever a test wants: right tokens and wrong ones."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey


class Liar:
    """`claims` are laid over a right token's, with `...` a claim is left out; `key` signs; `status` is the token
    endpoint's answer; a code is taken as often as it comes, which real ones do not."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.asked: list[dict[str, str]] = []
        self._key = RSAKey.generate_key(2048, {"kid": "k1"})
        self._other = RSAKey.generate_key(2048, {"kid": "k1"})
        self.tell()

    def tell(self, *, forged: bool = False, status: int = 200, **claims: Any) -> None:
        """What it says from now on."""
        self.claims, self.status = claims, status
        self.key = self._other if forged else self._key

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "end_session_endpoint": f"{self.url}/logout",
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def token(self, code: str) -> dict[str, Any]:
        """`code`: the nonce, which the test took from the address it was sent to."""
        now = int(time.time())
        right = {
            "iss": self.url, "sub": "00u1", "aud": "chatcore", "iat": now, "exp": now + 300, "nonce": code,
            "email": "ada@example.com", "email_verified": True, "name": "Ada Lovelace",
        }  # fmt: skip
        said = {name: value for name, value in (right | self.claims).items() if value is not ...}
        signed = jwt.encode({"alg": "RS256", "kid": "k1"}, said, self.key)
        return {"access_token": "planted-access-token", "token_type": "Bearer", "id_token": signed}


@contextmanager
def lying(port: int) -> Iterator[Liar]:
    """A `Liar` that listens for the length of a block."""
    liar = Liar(port)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            jwks = {"keys": [liar._key.as_dict(private=False)]}
            self._say(200, {"/jwks": jwks}.get(path, liar.metadata()))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            liar.asked.append(form)
            self._say(liar.status, liar.token(form["code"]) if liar.status == 200 else {"error": "invalid_grant"})

        def _say(self, status: int, body: Any) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield liar
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
