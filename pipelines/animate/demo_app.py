"""The demo page as an application for a server on the same machine.

The address that is printed holds a random token; opening it sets a cookie. Every other request must bring the cookie,
must name this host, and must come from this page. Uploads are bounded in size and number, get names of our own, are
known by their content and never leave the folder of the run.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse

from pipelines.animate.demo_tasks import Refused, Tasks

COOKIE = "vividpose_demo"
MAX_BODY = 16 << 10
NAME = re.compile(r"(preview|video)-[0-9a-f]{12}(\.compare)?\.(mp4|preview\.png|json)")
TYPES = {".mp4": "video/mp4", ".png": "image/png", ".json": "application/json"}
PAGE = Path(__file__).parent / "demo.html"


def make_app(tasks: Tasks, told: dict[str, Any], token: str, port: int, max_upload: int) -> FastAPI:
    """told: what the page says about the model. max_upload: bytes of one file."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
    page, policy = _page(told, max_upload)

    @app.middleware("http")
    async def guard(request: Request, proceed: Any) -> Response:
        refused = _refusal(request, token, hosts, max_upload)
        response = refused if refused is not None else await proceed(request)
        response.headers["x-content-type-options"] = "nosniff"
        response.headers["referrer-policy"] = "no-referrer"
        response.headers["cache-control"] = "no-store"
        response.headers["cross-origin-resource-policy"] = "same-origin"
        response.headers["content-security-policy"] = policy
        return response

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return JSONResponse({"error": str(error)}, 422)

    @app.get("/")
    async def index(request: Request) -> Response:
        if "token" in request.query_params:
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            return answer
        return HTMLResponse(page)

    @app.get("/favicon.ico")
    async def icon() -> Response:
        return Response(status_code=204)

    @app.post("/uploads/{kind}")
    async def upload(kind: str, request: Request) -> Response:
        if kind not in ("reference", "driving"):
            raise Refused("expected a reference or a driving video")
        path = tasks.place()
        size = 0
        try:
            with path.open("wb") as file:
                async for piece in request.stream():
                    size += len(piece)
                    if size > max_upload:
                        raise Refused(f"the file is larger than {max_upload >> 20} MB")
                    file.write(piece)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return JSONResponse(await run_in_threadpool(tasks.look_at, kind, path))

    @app.post("/tasks/{kind}")
    async def begin(kind: str, request: Request) -> Response:
        if kind not in ("preview", "video"):
            raise Refused("expected a preview or a video")
        try:
            asked = json.loads(await request.body())
        except (ValueError, RecursionError):
            raise Refused("expected JSON") from None
        if not isinstance(asked, dict):
            raise Refused("expected an object")
        return JSONResponse({"name": tasks.begin(kind, asked)})

    @app.get("/task")
    async def task() -> Response:
        return JSONResponse(tasks.task.to_json())

    @app.get("/files/{name}")
    async def file(name: str) -> Response:
        path = tasks.out / name
        if not NAME.fullmatch(name) or not path.is_file() or path.is_symlink():
            return PlainTextResponse("no such file\n", 404)
        return FileResponse(path, media_type=TYPES[path.suffix])

    return app


def _refusal(request: Request, token: str, hosts: set[str], max_upload: int) -> Response | None:
    """Why a request is not answered, or None. The Host comes first: it tells a rebound name."""
    headers = request.headers
    if headers.get("host", "").lower() not in hosts:
        return PlainTextResponse("this name is not served here\n", 421)
    brought = [request.cookies.get(COOKIE)]
    if request.method == "GET" and request.url.path == "/":
        brought.append(request.query_params.get("token"))
    if not any(value and hmac.compare_digest(value.encode(), token.encode()) for value in brought):
        return PlainTextResponse("open the address that `vividpose demo` printed\n", 403)
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if (origin is not None and origin not in {f"http://{host}" for host in hosts}) or site in (
        "cross-site",
        "same-site",
    ):
        return PlainTextResponse("requests from other pages are not answered\n", 403)
    if request.method not in ("GET", "HEAD"):
        limit = max_upload if request.url.path.startswith("/uploads/") else MAX_BODY
        length = headers.get("content-length", "")
        if not length.isdigit() or int(length) > limit:
            return JSONResponse({"error": f"at most {limit >> 10} KB are taken, with their number stated"}, 413)
    return None


def _page(told: dict[str, Any], max_upload: int) -> tuple[str, str]:
    """The page, and the policy under which a browser runs its own style and script only."""
    from html import escape

    text = PAGE.read_text(encoding="utf-8")
    facts = {**told, "max_mb": max_upload >> 20}
    for name, value in facts.items():
        text = text.replace(f"[[{name}]]", escape(str(value)))
    hashes = {}
    for tag in ("style", "script"):
        content = text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
        hashes[tag] = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; style-src 'sha256-{hashes['style']}'; "
        "img-src 'self' blob:; media-src 'self' blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    return text, policy
