"""`vividpose demo`: a page to try the model, on the loopback interface only."""

from __future__ import annotations

import secrets
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from pipelines.animate.demo_tasks import Tasks
from pipelines.animate.model_source import find_model
from pipelines.animate.settings import AnimateSettings
from pipelines.engine.setup_error import SetupError


def serve(
    settings: AnimateSettings, port: int, max_upload: int, tell: Callable[[str], None], keep: Path | None = None
) -> None:
    """Serve until interrupted. port: 0 takes a free one. max_upload: bytes of a file. keep: a folder for uploads and
    results that stays; None: a temporary one. Raises `SetupError`."""
    try:
        import uvicorn

        from pipelines.animate.demo_app import make_app
    except ImportError as error:
        raise SetupError(f"{error.name} is not installed: pip install -e '.[serve]'") from error
    model = find_model(settings.model, lambda path: "")
    told = {"model": model.told, "width": model.size[0], "height": model.size[1]}
    token = secrets.token_urlsafe(32)
    with tempfile.TemporaryDirectory(prefix="vividpose-demo.") as temporary, socket.socket() as listening:
        folder = Path(tempfile.mkdtemp(prefix="demo.", dir=keep)) if keep is not None else Path(temporary) / "demo"
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
            listening.listen(64)
        except OSError as error:
            raise SetupError(f"cannot listen on port {port} of this machine: {error.strerror}; give another") from error
        port = listening.getsockname()[1]
        app = make_app(Tasks(folder, settings), told, token, port, max_upload)
        tell(f"http://127.0.0.1:{port}/?token={token}")
        tell("Only this address works, and only on this machine. Ctrl-C ends it.")
        # A page that is still open must not keep Ctrl-C from ending the server.
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=3
        )
        uvicorn.Server(config).run(sockets=[listening])
