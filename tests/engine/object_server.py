"""An S3 server on loopback, and a proxy before it that treats some requests as a bad day treats them."""

from __future__ import annotations

import http.client
import logging
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}
BUCKET = "bucket"
# What may become of a request: throttled, failed, refused for good, not answered, or done and then not answered.
THROTTLE, FAIL, REFUSE, DROP, LOSE_ANSWER = "throttle", "fail", "refuse", "drop", "lose_answer"
ERRORS = {THROTTLE: (503, "SlowDown"), FAIL: (500, "InternalError"), REFUSE: (400, "EntityTooSmall")}


@contextmanager
def object_server() -> Iterator[str]:
    """The endpoint of a fresh S3 server with one bucket."""
    # It runs in this process: its log must not mix with what a command says there.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    endpoint = f"http://127.0.0.1:{port}"
    try:
        make_bucket(endpoint)
        yield endpoint
    finally:
        server.stop()


def make_bucket(endpoint: str) -> None:
    keys = {name.lower(): CREDENTIALS[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys).create_bucket(Bucket=BUCKET)


@contextmanager
def checked_credentials(endpoint: str) -> Iterator[None]:
    """The server refuses keys that it does not know, which are all."""

    def after(count: str) -> None:
        plain = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{endpoint}/moto-api/reset-auth", count.encode(), plain, method="POST")
        urllib.request.urlopen(request).close()

    after("0")
    try:
        yield
    finally:
        after("Infinity")


class BadDay:
    """Decides the fate of each request. `rule(number, method, path)` gives one of the words above, or None."""

    def __init__(self, rule: Callable[[int, str, str], str | None]) -> None:
        self.rule = rule
        self.lock = threading.Lock()
        self.requests = 0
        self.dealt: list[str] = []

    def fate(self, method: str, path: str) -> str | None:
        with self.lock:
            self.requests += 1
            fate = self.rule(self.requests, method, path)
            if fate is not None:
                self.dealt.append(fate)
            return fate


@contextmanager
def proxy(endpoint: str, day: BadDay) -> Iterator[str]:
    """An endpoint that passes requests on to `endpoint`, when the day lets it."""
    backend = endpoint.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else b""
            fate = day.fate(self.command, self.path)
            if fate == DROP:
                self.close_connection = True
                self.connection.close()
                return
            if fate in ERRORS:
                status, code = ERRORS[fate]
                text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>a bad day</Message></Error>"
                self._answer(status, {"Content-Type": "application/xml"}, text.encode())
                return
            connection = http.client.HTTPConnection(backend, timeout=60)
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            response = connection.getresponse()
            content = response.read()
            headers = {k: v for k, v in response.getheaders() if k.lower() not in ("transfer-encoding", "connection")}
            connection.close()
            if fate == LOSE_ANSWER:
                self.close_connection = True
                self.connection.close()
                return
            self._answer(response.status, headers, content)

        def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "server", "date"):
                    self.send_header(name, value)
            length = headers.get("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do

        def log_message(self, *ignored: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
