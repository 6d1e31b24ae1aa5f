"""The demo page: what it refuses, and a visit in a real browser."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.animate.conftest import settings_from
from tests.audit.browser import Visit, chromium

__all__ = ["chromium"]
TOKEN, PORT, LIMIT = "t" * 20, 8123, 1 << 20


@pytest.fixture
def client(tmp_path: Path) -> Any:
    testing = pytest.importorskip("fastapi.testclient")
    from pipelines.animate.demo_app import make_app
    from pipelines.animate.demo_tasks import Tasks

    tasks = Tasks(tmp_path / "run", settings_from({}), max_uploads=3)
    app = make_app(tasks, {"model": "tiny", "width": 64, "height": 96}, TOKEN, PORT, LIMIT)
    visitor = testing.TestClient(app, base_url=f"http://127.0.0.1:{PORT}")
    visitor.tasks = tasks
    return visitor


def enter(client: Any) -> None:
    assert client.get("/", params={"token": TOKEN}).status_code == 200


def test_without_the_token_nothing_is_answered(client: Any):
    for answer in (client.get("/"), client.get("/task"), client.post("/uploads/reference", content=b"x")):
        assert answer.status_code == 403


def test_another_name_and_another_page_are_refused(client: Any):
    enter(client)
    assert client.get("/task", headers={"host": "evil.example"}).status_code == 421
    assert client.get("/task", headers={"origin": "http://evil.example"}).status_code == 403


@pytest.mark.parametrize("kind", ["reference", "driving"])
def test_a_file_is_known_by_its_content_and_thrown_away_when_it_is_no_use(client: Any, kind: str):
    enter(client)
    answer = client.post(f"/uploads/{kind}", content=b"\x89PNG\r\n\x1a\n", headers={"content-type": "image/png"})
    assert answer.status_code == 422
    assert "/" not in answer.json()["error"], "paths of this machine are not told"
    assert list(client.tasks.uploads.iterdir()) == []


def test_a_file_that_is_too_large_is_refused_before_and_while_it_comes(client: Any):
    enter(client)
    assert client.post("/uploads/reference", content=b"x" * (LIMIT + 1)).status_code == 413
    pieces = (b"x" * (LIMIT // 4) for _ in range(6))
    answer = client.post("/uploads/reference", content=pieces)  # chunked: no length is stated
    assert answer.status_code == 413
    assert list(client.tasks.uploads.iterdir()) == []


@pytest.mark.slow
def test_too_many_files_are_refused(client: Any, inputs: Path):
    enter(client)
    picture = (inputs / "reference.png").read_bytes()
    codes = [client.post("/uploads/reference", content=picture).status_code for _ in range(4)]
    assert codes == [200, 200, 200, 422]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"reference": "../../etc/passwd", "driving": "../x"},
        {"reference": "0" * 32, "driving": "0" * 32},
        {"reference": "a", "driving": "b", "name": "x"},
    ],
)
def test_a_job_on_anything_but_uploads_is_refused(client: Any, asked: dict[str, Any]):
    enter(client)
    assert client.post("/tasks/video", json=asked).status_code == 422


@pytest.mark.parametrize("name", ["../animate.yaml", "animate.yaml", "work", "video-x.mp4", "..%2f..%2fetc%2fpasswd"])
def test_only_results_are_given_out(client: Any, name: str):
    enter(client)
    assert client.get(f"/files/{name}").status_code == 404


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "pipelines.cli", "demo", "--port", "0", "--profile", "lite"]
    process = subprocess.Popen(
        [*command, "--set", "body.iterations=20"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path / "tmp"), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
        process.terminate()
        process.wait(30)
    finally:
        process.kill()


@pytest.mark.slow
def test_upload_preview_make_and_watch_in_a_browser(chromium: Any, demo: str, inputs: Path, tmp_path: Path):
    shots = Path(os.environ.get("VIVIDPOSE_TEST_SHOTS") or tmp_path)
    visit = Visit(chromium, demo, viewport={"width": 1200, "height": 1500})
    page = visit.page
    page.set_default_timeout(300_000)
    assert page.locator("#preview").is_disabled()
    page.locator("#reference").set_input_files(inputs / "driver.mp4")
    page.wait_for_selector("#about-reference.bad")
    assert "no picture" in page.locator("#about-reference").inner_text()
    page.locator("#reference").set_input_files(inputs / "reference.png")
    page.locator("#driving").set_input_files(inputs / "driver.mp4")
    page.wait_for_selector("#preview:enabled")
    assert "360 x 480" in page.locator("#about-driving").inner_text()
    page.locator("input[name=steps]").fill("1")
    page.locator("#preview").click()
    page.wait_for_selector("#sheet")
    page.wait_for_function("document.querySelector('#sheet').naturalWidth > 1000")
    page.screenshot(path=shots / "preview.png")
    page.locator("#video").click()
    page.wait_for_selector("#made")
    page.wait_for_function("document.querySelector('#made').currentTime > 0")
    page.wait_for_timeout(500)
    page.screenshot(path=shots / "video.png")
    duration = page.evaluate("document.querySelector('#made').duration")
    assert abs(duration - 1.0) < 0.11
    # What the browser says of the picture that was refused on purpose.
    assert [said for said in visit.said if "422" not in said] == []
    assert all(address.startswith(("http://127.0.0.1:", "blob:http://127.0.0.1:")) for address in visit.asked)
