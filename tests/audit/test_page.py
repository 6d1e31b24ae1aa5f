"""The page of an audit in a real browser, over generated rows with hostile titles."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.audit.page import build_page, render_page, write_html
from pipelines.audit.page_queries import Tables
from pipelines.audit.page_sankey import steps_of
from pipelines.audit.page_text import duration, measured, script_json
from pipelines.audit.synthetic import write_tables
from tests.audit.browser import Visit, chromium  # noqa: F401

ROWS = 700
HOSTILE = (
    "</script><script>alert(1)</script>", "<img src=x onerror=alert(2)>", "=HYPERLINK(\"http://evil\",\"y\")",
    "+1+cmd|' /C calc'!A0", "\"><svg onload=alert(3)>", "{{7*7}}{% raw %}", "a\u202egpj.exe", "-2+3", "@SUM(1)",
    "javascript:alert(4)", "<!--<script>", "]]>", "\u2028", "'; drop table clips; --", "x" * 3000,
)  # fmt: skip


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated tables in which every text that people wrote is hostile."""
    out = tmp_path_factory.mktemp("page") / "out"
    write_tables(out, ROWS)
    path = out / "audit/clips.parquet"
    table = pq.read_table(path)
    rows = table.num_rows
    names = ("title", "uploader", "licence", "platform", "source_path", "message", "url", "consent")
    for shift, name in enumerate(names):
        values = [HOSTILE[(n + shift) % len(HOSTILE)] for n in range(rows)]
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, pa.string()))
    pq.write_table(table, path)
    folder = out / "audit/previews"
    folder.mkdir()
    for key in kept_keys(out)[:20]:
        Image.new("RGB", (90, 40), "teal").save(folder / f"{key}.webp")
    write_html(out)
    return out


def kept_keys(out: Path) -> list[str]:
    path = str(out / "audit/clips.parquet")
    query = "select key from read_parquet(?) where state = 'kept' order by key"
    return [row[0] for row in duckdb.execute(query, [path]).fetchall()]


@pytest.fixture
def visit(chromium: Any, audited: Path) -> Iterator[Callable[..., Visit]]:  # noqa: F811
    opened: list[Visit] = []

    def open_page(part: str = "", **context: Any) -> Visit:
        opened.append(Visit(chromium, (audited / "audit/index.html").as_uri() + part, **context))
        return opened[-1]

    yield open_page
    for each in opened:
        each.close()


def test_nothing_of_a_hostile_text_runs(visit: Callable[..., Visit]):
    seen = visit()
    for number in range(0, 45, 7):
        seen.page.locator(".list .row").nth(number).click()
        seen.page.keyboard.press("Escape")
    seen.page.locator("#more").click()
    seen.page.wait_for_timeout(200)
    assert seen.dialogs == []
    assert seen.said == []
    assert seen.page.locator("main img[src='x'], main svg[onload], dialog img[src='x']").count() == 0


def test_hostile_titles_are_shown_as_they_are(visit: Callable[..., Visit]):
    seen = visit()
    seen.page.locator("#find").fill("onerror=alert(2)")
    seen.page.wait_for_timeout(300)
    assert seen.page.locator(".list .row b").first.inner_text() != ""
    assert "<img src=x onerror=alert(2)>" in seen.page.locator("#list").inner_text()


def test_no_request_leaves_the_disk(visit: Callable[..., Visit]):
    seen = visit()
    seen.page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    seen.page.locator(".list .row").first.click()
    seen.page.wait_for_timeout(200)
    assert seen.asked
    assert all(address.startswith(("file:", "blob:")) for address in seen.asked)


def test_a_script_that_got_in_would_not_run(visit: Callable[..., Visit]):
    seen = visit()
    seen.page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'ran = 1'; document.body.append(s); }"
    )
    assert seen.page.evaluate("window.ran === undefined")


def test_only_web_addresses_become_links(visit: Callable[..., Visit]):
    seen = visit()
    for number in range(4, 15, 2):
        seen.page.locator(".list .row").nth(number).click()
        for link in seen.page.locator("dialog a").all():
            assert re.match("https?://", link.get_attribute("href") or "")
        seen.page.keyboard.press("Escape")


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_the_page_is_no_wider_than_the_window(visit: Callable[..., Visit], width: int):
    seen = visit(viewport={"width": width, "height": 800})
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    seen.page.locator(".list .row").first.click()
    assert seen.page.evaluate("document.querySelector('dialog').scrollWidth <= innerWidth")


def test_dark_is_dark_and_light_is_light(visit: Callable[..., Visit]):
    def brightness(scheme: str) -> float:
        seen = visit(color_scheme=scheme)
        colour = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3

    assert brightness("dark") < 60 < 200 < brightness("light")


def test_the_button_turns_the_colours_round(visit: Callable[..., Visit]):
    seen = visit(color_scheme="light")
    seen.page.locator("#theme").click()
    assert seen.page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_pictures_are_loaded_only_when_they_come_into_view(visit: Callable[..., Visit]):
    seen = visit(viewport={"width": 1000, "height": 600})
    assert not any(address.endswith(".webp") for address in seen.asked)
    seen.page.locator("#clips").scroll_into_view_if_needed()
    seen.page.evaluate("document.getElementById('clips').scrollIntoView({behavior: 'instant'})")
    seen.page.wait_for_timeout(500)
    assert any(address.endswith(".webp") for address in seen.asked)


def test_filters_find_what_the_table_holds(visit: Callable[..., Visit], audited: Path):
    seen = visit()
    seen.page.locator("#by-outcome").select_option("review")
    path = str(audited / "audit/clips.parquet")
    row = duckdb.execute(
        "select count(*) from read_parquet(?) where outcome = 'review' and key is not null", [path]
    ).fetchone()
    assert row is not None
    assert seen.page.locator("#found").inner_text().startswith(f"{row[0]} clips")


def test_sorting_by_a_measure_puts_the_largest_first(visit: Callable[..., Visit], audited: Path):
    seen = visit()
    seen.page.locator("#by-measure").select_option("jitter")
    seen.page.locator("#order").click()
    path = str(audited / "audit/clips.parquet")
    row = duckdb.execute("select max(jitter) from read_parquet(?)", [path]).fetchone()
    assert row is not None
    assert seen.page.locator(".list .end").first.inner_text() == f"{row[0]:.3g}"


def test_a_link_opens_the_record_of_a_clip(visit: Callable[..., Visit], audited: Path):
    key = kept_keys(audited)[5]
    seen = visit(f"#clip={key}")
    assert key in seen.page.locator("dialog").inner_text()


def test_what_all_clips_have_is_no_extreme(tmp_path: Path, chromium: Any):  # noqa: F811
    write_tables(tmp_path, 60)
    path = tmp_path / "audit/clips.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("left_hand_seen")
    ones = pa.array([1.0] * table.num_rows, table.schema.field(place).type)
    pq.write_table(table.set_column(place, "left_hand_seen", ones), path)
    write_html(tmp_path)
    address = (tmp_path / "audit/index.html").as_uri() + f"#clip={kept_keys(tmp_path)[0]}"
    seen = Visit(chromium, address)
    row = seen.page.locator("dialog .score", has_text="Left hand seen")
    assert row.get_attribute("class") == "score"
    seen.close()


def test_the_csv_holds_no_formula(visit: Callable[..., Visit], tmp_path: Path):
    seen = visit()
    with seen.page.expect_download() as download:
        seen.page.locator("#export").click()
    download.value.save_as(tmp_path / "clips.csv")
    rows = list(csv.reader((tmp_path / "clips.csv").open(encoding="utf-8-sig", newline="")))
    assert len(rows) > 100
    numbers = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?$")
    for row in rows[1:]:
        assert len(row) == len(rows[0])
        for cell in row:
            assert not cell.lstrip().startswith(("=", "+", "-", "@")) or numbers.match(cell)


def test_no_picture_of_a_sensitive_clip_is_shown(audited: Path, tmp_path: Path, chromium: Any):  # noqa: F811
    out = tmp_path / "out"
    (out / "audit/previews").mkdir(parents=True)
    for name in ("clips", "pairs", "identities", "flow"):
        (out / f"audit/{name}.parquet").write_bytes((audited / f"audit/{name}.parquet").read_bytes())
    path = out / "audit/clips.parquet"
    key = kept_keys(audited)[0]
    reason = "[{'rule': 'possible_minor', 'column': 'minor', 'value': '0.4', 'threshold': 'x', 'decision': 'review'}]"
    duckdb.execute(f"copy (select * replace (case when key = '{key}' then {reason} else reasons end as reasons) "
                   f"from read_parquet('{path}')) to '{out}/new.parquet' (format parquet)")  # fmt: skip
    (out / "new.parquet").rename(path)
    Image.new("RGB", (9, 9)).save(out / f"audit/previews/{key}.webp")
    build_page(out)
    assert not (out / f"audit/previews/{key}.webp").exists()
    seen = Visit(chromium, (out / "audit/index.html").as_uri() + f"#clip={key}")
    assert "no picture of it is made" in seen.page.locator("dialog").inner_text()
    seen.close()


def test_a_large_set_is_sampled_and_the_page_says_so(audited: Path):
    page = render_page(audited, limit=50)
    clips = Tables(audited).totals()["clips"]
    assert f"50 of {clips} clips" in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
    assert len(data["columns"]["key"]) == 50


def test_a_text_is_no_template(audited: Path):
    assert "{{7*7}}{% raw %}" in render_page(audited)


def test_a_dataset_without_audit_is_told_so(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="vividpose audit"):
        build_page(tmp_path)


def test_the_flow_loses_nothing(audited: Path):
    flow = Tables(audited).flow()
    for unit in ("rows", "seconds"):
        steps = steps_of(flow, unit)
        left = sum(end.value for step in steps for end in step.endings)
        whole = sum(float(row[unit]) for row in flow if row["from"] == "sources")
        assert left + steps[-1].rest == pytest.approx(whole)


def test_histograms_count_every_clip_that_has_the_measure(audited: Path):
    tables = Tables(audited)
    counts = tables.numbers([f"count({measure.column})" for measure in tables.measures])
    wanted = {measure.column: count for measure, count in zip(tables.measures, counts) if count}
    assert {row["measure"].column: row["clips"] for row in tables.histograms()} == wanted


def test_json_in_a_script_cannot_end_it():
    text = script_json({"a": "</script><!--&\u2028"})
    assert "<" not in text
    assert json.loads(text) == {"a": "</script><!--&\u2028"}


@pytest.mark.parametrize(("seconds", "text"), [(8, "8 s"), (600, "10 min"), (3600, "1.0 h"), (3.6e6, "1\u202f000 h")])
def test_durations_are_told_in_what_suits_them(seconds: float, text: str):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"), [(0.5, "%", "50 %"), (0.012, "%", "1.2 %"), (12.345, "px", "12.3 px"), (3.0, "°", "3°")]
)
def test_measures_are_told_with_their_unit(value: float, unit: str, text: str):
    assert measured(value, unit) == text
