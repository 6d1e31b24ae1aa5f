"""The page of an audit, where it also takes decisions, as an application for a server on the same machine.

The address that is given to the user holds a random token; opening it sets a cookie and leads to an address without it.
Every other request must bring the cookie (or the token as `x-audit-token`), must name this
host, and if it changes something must come from this page. So neither another page in the same browser nor another user
of the machine gets in.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import re
import time
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from pipelines.audit.decide import read_manual
from pipelines.audit.page import read_style_and_script, render_page, served_policy
from pipelines.audit.page_data import PREVIEWS
from pipelines.audit.schema import CLIPS, MANUAL, Decision, audit_folder
from pipelines.ingest.provenance import clean_text
from pipelines.settings import BadSettings

COOKIE = "vividpose_audit"
HEADER = "x-audit-token"
MAX_BODY = 16 << 10
PREVIEW = re.compile(r"[0-9A-Za-z_-]{1,100}\.(webp|mp4)")
TYPES = {".webp": "image/webp", ".mp4": "video/mp4"}


class Verdict(BaseModel):
    """A person's decision on a clip; None takes an earlier one back."""

    model_config = ConfigDict(extra="forbid", strict=True)

    key: str = Field(pattern=r"^[0-9A-Za-z_-]{1,100}$")
    decision: Decision | None
    by: str = Field(min_length=1, max_length=200)
    why: str = Field(default="", max_length=2000)


def make_app(out: Path, token: str, port: int) -> FastAPI:
    """The server as an ASGI application. Raises FileNotFoundError where there has been no audit."""
    out = Path(out)
    if not (audit_folder(out) / CLIPS).is_file():
        raise FileNotFoundError(f"{audit_folder(out) / CLIPS} is not there: run `vividpose audit {out}` first")
    hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
    origins = {f"http://{host}" for host in hosts}
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    policy = served_policy(*read_style_and_script())

    @app.middleware("http")
    async def guard(request: Request, proceed: Any) -> Response:
        refused = _refusal(request, token, hosts, origins)
        response = refused if refused is not None else await proceed(request)
        response.headers["x-content-type-options"] = "nosniff"
        response.headers["referrer-policy"] = "no-referrer"
        response.headers["cache-control"] = "no-store"
        response.headers["cross-origin-resource-policy"] = "same-origin"
        response.headers["content-security-policy"] = f"{policy}; frame-ancestors 'none'"
        return response

    @app.get("/")
    def page(request: Request) -> Response:
        if "token" in request.query_params:
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            return answer
        return HTMLResponse(render_page(out, served=True))

    @app.get(f"/{PREVIEWS}/{{name}}")
    def preview(name: str) -> Response:
        path = audit_folder(out) / PREVIEWS / name
        if not PREVIEW.fullmatch(name) or not path.is_file() or path.is_symlink():
            raise HTTPException(404, "no such preview")
        return FileResponse(path, media_type=TYPES[path.suffix])

    @app.get("/favicon.ico")
    def icon() -> Response:
        return Response(status_code=204)

    @app.get("/decisions")
    def decisions() -> Response:
        try:
            return JSONResponse(read_manual(audit_folder(out) / MANUAL).to_pylist())
        except BadSettings as error:
            raise HTTPException(500, str(error)) from error

    @app.post("/decisions")
    def decide(verdict: Verdict) -> Response:
        by = clean_text(verdict.by, 200)
        if by is None:
            raise HTTPException(422, "say who decides")
        if not _is_clip(out, verdict.key):
            raise HTTPException(404, f"no clip has the key {verdict.key}")
        row = {
            "key": verdict.key,
            "decision": verdict.decision,
            "by": by,
            "why": clean_text(verdict.why, 2000) or "",
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        append_line(audit_folder(out) / MANUAL, row)
        return JSONResponse(row)

    return app


def _refusal(request: Request, token: str, hosts: set[str], origins: set[str]) -> Response | None:
    """Why a request is not answered, or None. The Host is looked at first: it tells a rebound name."""
    headers = request.headers
    if headers.get("host", "").lower() not in hosts:
        return PlainTextResponse("this name is not served here\n", 421)
    brought = [headers.get(HEADER), request.cookies.get(COOKIE)]
    if request.method == "GET" and request.url.path == "/":
        brought.append(request.query_params.get("token"))
    if not any(value and hmac.compare_digest(value.encode(), token.encode()) for value in brought):
        return PlainTextResponse("open the address that `vividpose audit --serve` printed\n", 403)
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if (origin is not None and origin not in origins) or site in ("cross-site", "same-site"):
        return PlainTextResponse("requests from other pages are not answered\n", 403)
    if request.method not in ("GET", "HEAD"):
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return PlainTextResponse("only JSON is taken\n", 415)
        length = headers.get("content-length", "")
        if not length.isdigit() or int(length) > MAX_BODY:
            return PlainTextResponse(f"at most {MAX_BODY} bytes, with their number stated, are taken\n", 413)
    return None


def _is_clip(out: Path, key: str) -> bool:
    import duckdb

    query = "select 1 from read_parquet(?) where key = ? limit 1"
    return duckdb.execute(query, [str(audit_folder(out) / CLIPS), key]).fetchone() is not None


def append_line(path: Path, row: dict[str, str | None]) -> None:
    """Add one line and flush it. Two who press at once do not write into each other's line; a torn line is ended."""
    line = json.dumps(row, ensure_ascii=True, sort_keys=True) + "\n"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, b"\n" * torn + line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
