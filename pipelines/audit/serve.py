"""`vividpose audit OUT --serve`: the page on this machine, on the loopback interface only."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from pipelines.engine.setup_error import SetupError

PORT = 8765


def serve(out: Path, port: int = PORT, token: str | None = None) -> None:
    """Serve until interrupted. port: 0 takes a free one. token: None makes a random one; it is printed in the address.

    Raises `SetupError` when the port is in use or the server is not installed, FileNotFoundError without an audit.
    """
    try:
        import uvicorn

        from pipelines.audit.serve_app import make_app
    except ImportError as error:
        raise SetupError(f"{error.name} is not installed: pip install -e '.[serve]'") from error
    token = token or secrets.token_urlsafe(32)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
            listening.listen(64)
        except OSError as error:
            raise SetupError(f"cannot listen on port {port} of this machine: {error.strerror}; give another") from error
        port = listening.getsockname()[1]
        app = make_app(Path(out), token, port)
        print(f"http://127.0.0.1:{port}/?token={token}", flush=True)
        print("Only this address works, and only on this machine. Ctrl-C ends it.", flush=True)
        # A page that is still open must not keep Ctrl-C from ending the server.
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=3
        )
        uvicorn.Server(config).run(sockets=[listening])
