"""The served page: it answers nobody without its token, nor another origin, and stores decisions whole."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.audit.decide import read_manual
from pipelines.audit.schema import MANUAL, audit_folder
from pipelines.audit.synthetic import write_tables
from pipelines.engine.setup_error import SetupError
from tests.audit.browser import Visit, chromium  # noqa: F401

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

from pipelines.audit.serve import serve
from pipelines.audit.serve_app import COOKIE, HEADER, append_line, make_app

TOKEN, PORT = "t" * 43, 8765
HERE = f"http://127.0.0.1:{PORT}"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve") / "out"
    write_tables(folder, 300)
    (folder / "audit/previews").mkdir()
    (folder / "audit/previews/abc.webp").write_bytes(b"picture")
    (folder / "secret.txt").write_text("secret")
    return folder


@pytest.fixture
def client(out: Path) -> Iterator[TestClient]:
    (audit_folder(out) / MANUAL).unlink(missing_ok=True)
    with TestClient(make_app(out, TOKEN, PORT), base_url=HERE, follow_redirects=False) as client:
        yield client


@pytest.fixture
def known(client: TestClient) -> TestClient:
    client.headers[HEADER] = TOKEN
    return client


@pytest.fixture(scope="module")
def key(out: Path) -> str:
    row = duckdb.execute("select min(key) from read_parquet(?)", [str(out / "audit/clips.parquet")]).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("path", ["/", "/decisions", "/previews/abc.webp", "/nothing", "/openapi.json", "/docs"])
def test_nobody_gets_anything_without_the_token(client: TestClient, path: str):
    assert client.get(path).status_code == 403
    assert client.get(path, headers={HEADER: "wrong"}).status_code == 403
    assert client.get(path, headers={"cookie": f"{COOKIE}=wrong"}).status_code == 403


def test_the_token_in_the_address_becomes_a_cookie_that_scripts_cannot_read(client: TestClient):
    answer = client.get(f"/?token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert re.search("HttpOnly.*SameSite=strict", answer.headers["set-cookie"], re.IGNORECASE)
    assert client.get("/").status_code == 200


def test_the_token_in_another_address_does_not_count(client: TestClient):
    assert client.get(f"/decisions?token={TOKEN}").status_code == 403


@pytest.mark.parametrize("host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:80", ""])
def test_another_host_name_is_refused_even_with_the_token(known: TestClient, host: str):
    assert known.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_origin_is_refused_even_with_the_token(known: TestClient, key: str, headers: dict[str, str]):
    body = {"key": key, "decision": "drop", "by": "eve"}
    assert known.post("/decisions", json=body, headers=headers).status_code == 403
    assert known.get("/decisions", headers=headers).status_code == 403
    assert known.get("/decisions").json() == []


def test_a_decision_is_stored_with_who_when_and_why(known: TestClient, out: Path, key: str):
    answer = known.post("/decisions", json={"key": key, "decision": "drop", "by": " Ada ", "why": "two\npeople"})
    assert answer.status_code == 200
    assert read_manual(audit_folder(out) / MANUAL).to_pylist() == [answer.json()]
    assert known.get("/decisions").json() == [answer.json()]
    assert answer.json()["by"] == "Ada"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer.json()["at"])


def test_a_decision_can_be_taken_back(known: TestClient, key: str):
    known.post("/decisions", json={"key": key, "decision": "drop", "by": "Ada"})
    known.post("/decisions", json={"key": key, "decision": None, "by": "Ada"})
    assert known.get("/decisions").json() == []


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"decision": "delete"}, 422),
        ({"by": ""}, 422),
        ({"by": "\u200b"}, 422),
        ({"by": 3}, 422),
        ({"key": "../../etc/passwd"}, 422),
        ({"key": "0" * 16}, 404),
        ({"why": "x" * 3000}, 422),
        ({"more": 1}, 422),
    ],
)
def test_what_is_no_decision_is_refused(known: TestClient, key: str, change: dict[str, Any], status: int):
    body = {"key": key, "decision": "keep", "by": "Ada", "why": ""} | change
    assert known.post("/decisions", json=body).status_code == status
    assert known.get("/decisions").json() == []


def test_a_form_of_another_page_cannot_decide(known: TestClient, key: str):
    body = json.dumps({"key": key, "decision": "drop", "by": "eve"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert known.post("/decisions", content=body, headers={"content-type": kind}).status_code == 415


def test_a_large_body_is_refused(known: TestClient):
    huge = b'{"key": "' + b"x" * 100_000 + b'"}'
    assert known.post("/decisions", content=huge, headers={"content-type": "application/json"}).status_code == 413

    def pieces() -> Iterator[bytes]:
        yield huge

    answer = known.post("/decisions", content=pieces(), headers={"content-type": "application/json"})
    assert answer.status_code == 413


OTHER = ("..%2f..%2fsecret.txt", "../../secret.txt", "%2e%2e/clips.parquet", "abc.webp%00", "faces", ".webp", "abc.exe")


@pytest.mark.parametrize("name", OTHER)
def test_nothing_but_previews_is_handed_out(known: TestClient, name: str):
    assert known.get(f"/previews/{name}").status_code in (404, 405)


def test_a_link_among_the_previews_is_not_followed(known: TestClient, out: Path):
    (out / "audit/previews/link.webp").symlink_to(out / "secret.txt")
    assert known.get("/previews/link.webp").status_code == 404
    assert known.get("/previews/abc.webp").content == b"picture"


def test_every_answer_forbids_frames_and_foreign_scripts(known: TestClient):
    for path in ("/", "/nothing"):
        headers = known.get(path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_lines_of_many_writers_stay_whole(tmp_path: Path):
    path = tmp_path / "manual.jsonl"
    path.write_text('{"torn')
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: append_line(path, {"key": str(n), "why": "y" * 3000}), range(100)))
    lines = path.read_text().splitlines()
    assert lines[0] == '{"torn'
    assert sorted(int(json.loads(line)["key"]) for line in lines[1:]) == list(range(100))


@pytest.fixture
def running(out: Path) -> Iterator[str]:
    """The address that the server prints, on a free port."""
    code = f"from pipelines.audit.serve import serve; serve({str(out)!r}, 0)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
            process.terminate()
            process.wait(30)
        finally:
            process.kill()


def test_decisions_are_taken_on_the_page(running: str, out: Path, chromium: Any):  # noqa: F811
    (audit_folder(out) / MANUAL).unlink(missing_ok=True)
    seen = Visit(chromium, running)
    page = seen.page
    assert "token" not in page.url
    page.locator(".list .row").nth(2).click()
    page.locator("dialog .decide button", has_text="drop").click()
    assert "Say who you are" in page.locator("dialog .said").inner_text()
    page.locator("dialog .decide input").first.fill("Ada <b>")
    page.locator("dialog .decide button", has_text="drop").click()
    page.locator("dialog .said", has_text="Stored").wait_for()
    stored = read_manual(audit_folder(out) / MANUAL).to_pylist()
    assert [(row["decision"], row["by"]) for row in stored] == [("drop", "Ada <b>")]
    assert seen.said == []
    seen.close()


def test_it_listens_on_this_machine_only(running: str):
    port = int(running.split(":")[2].split("/")[0])
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10)
    addresses = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [row[1].split(":")[0] for row in addresses if row[3] == "0A" and int(row[1].split(":")[1], 16) == port]
    assert listening == ["0100007F"]


def test_a_port_in_use_is_one_clear_line(out: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SetupError, match="give another"):
            serve(out, taken.getsockname()[1])
