"""Bad jobs among good ones: each has its reason, and none stops another."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.animate.jobs import BadJobFile, JobLine, parse_job, read_jobs
from pipelines.animate.planned import plan_jobs
from pipelines.animate.run import run_animate
from tests.animate.conftest import SMALL, settings_from


def write_jobs(folder: Path, inputs: Path) -> Path:
    """Eleven bad jobs, and ten good ones among them; inputs lie in `folder`."""
    for path in inputs.iterdir():
        shutil.copy(path, folder)
    Image.fromarray(np.full((480, 360, 3), 128, np.uint8)).save(folder / "grey.png")
    (folder / "cut.mp4").write_bytes((folder / "driver.mp4").read_bytes()[:3000])
    (folder / "half.png").write_bytes((folder / "reference.png").read_bytes()[:500])
    outside = folder.parent / f"{folder.name}-outside.png"
    shutil.copy(folder / "reference.png", outside)
    (folder / "link.png").symlink_to(outside)
    good = {"reference": "reference.png", "driving": "driver.mp4", **SMALL}
    bad = [
        {**good, "name": "missing", "driving": "nowhere.mp4"},
        {**good, "name": "nobody", "reference": "grey.png"},
        {**good, "name": "zero", "seconds": 0},
        {**good, "name": "late", "start": 60},
        {**good, "name": "corrupt", "driving": "cut.mp4"},
        {**good, "name": "image", "driving": "other.png"},
        {**good, "name": "broken", "reference": "half.png"},
        {**good, "name": "escape", "reference": "link.png"},
        {**good, "name": "huge", "size": [4096, 4096]},
        {**good, "name": "third", "person": 3},
        {**good, "nmae": "typo"},
    ]
    # Good, bad, good, bad, ... and the rest.
    lines = [{**good, "name": "good0"}]
    for number, line in enumerate(bad, 1):
        lines += [line, {**good, "name": f"good{number}", "seed": number}] if number < 10 else [line]
    path = folder / "jobs.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return path


@pytest.mark.slow
def test_every_bad_job_ends_with_its_reason_and_every_good_one_with_a_video(inputs: Path, tmp_path: Path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    jobs = write_jobs(folder, inputs)
    settings = settings_from({"root": str(folder)})
    summary = run_animate(read_jobs(jobs), out, settings, base=folder)
    ended = {ending.name: (ending.status, ending.reason) for ending in summary.endings}
    ok = {f"good{number}": ("done", None) for number in range(10)}
    assert ended == ok | {
        "missing": ("quarantined", "not_found"),
        "nobody": ("quarantined", "nobody"),
        "jobs.jsonl:6": ("quarantined", "empty_span"),
        "late": ("quarantined", "empty_span"),
        "corrupt": ("quarantined", "undecodable"),
        "image": ("quarantined", "not_a_video"),
        "broken": ("quarantined", "undecodable"),
        "escape": ("quarantined", "outside_root"),
        "huge": ("quarantined", "bad_size"),
        "third": ("quarantined", "no_such_person"),
        "jobs.jsonl:21": ("quarantined", "bad_job"),
    }
    assert {path.stem for path in out.glob("*.mp4")} == set(ok)
    typo = next(ending.message for ending in summary.endings if ending.name == "jobs.jsonl:21")
    assert "did you mean 'name'" in (typo or "")
    assert (summary.exit_code(strict=False), summary.exit_code(strict=True)) == (0, 2)
    again = run_animate(read_jobs(jobs), out, settings, base=folder)
    assert {ending.name: (ending.status, ending.reason) for ending in again.endings} == ended
    assert again.seconds == {}, "what was refused is not tried again"


@pytest.mark.slow
def test_a_mended_file_is_another_source(inputs: Path, tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(inputs / "reference.png", folder)
    (folder / "driver.mp4").write_bytes((inputs / "driver.mp4").read_bytes()[:3000])
    (folder / "jobs.jsonl").write_text(json.dumps({"reference": "reference.png", "driving": "driver.mp4", **SMALL}))

    def run() -> list[str]:
        lines = read_jobs(folder / "jobs.jsonl")
        return [e.status for e in run_animate(lines, tmp_path / "out", settings_from({}), base=folder).endings]

    assert run() == ["quarantined"]
    shutil.copy(inputs / "driver.mp4", folder)
    os.utime(folder / "driver.mp4")
    assert run() == ["done"]


def test_csv_and_json_lines_say_the_same(tmp_path: Path):
    (tmp_path / "jobs.csv").write_text(
        "reference,driving,size,guidance,seed,audio,fps\na.png,b.mp4,64x96,1:2.5,3,true,\n"
    )
    line = {"reference": "a.png", "driving": "b.mp4", "size": [64, 96], "guidance": [1, 2.5], "seed": 3, "audio": True}
    (tmp_path / "jobs.jsonl").write_text(json.dumps(line))
    assert read_jobs(tmp_path / "jobs.csv")[0].spec == read_jobs(tmp_path / "jobs.jsonl")[0].spec


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "bad_job"),
        ("[1]", "bad_job"),
        ('{"reference": "a"}', "bad_job"),
        ('{"reference": "a", "driving": "b", "seed": -1}', "bad_job"),
        ('{"reference": "a", "driving": "b", "seed": 1.5}', "bad_job"),
        ('{"reference": "a", "driving": "b", "steps": 0}', "bad_job"),
        ('{"reference": "a", "driving": "b", "fps": NaN}', "bad_job"),
        ('{"reference": "a", "driving": "b", "guidance": [1]}', "bad_job"),
        ('{"reference": "a", "driving": "b", "person": 0}', "bad_job"),
        ('{"reference": "a", "driving": "b", "name": "../up"}', "bad_job"),
        ('{"reference": "a", "driving": "b", "seconds": -1}', "empty_span"),
        ('{"reference": "a", "driving": "b", "size": [0, 96]}', "bad_size"),
        ("[" * 100000, "bad_job"),
    ],
)
def test_a_bad_line_is_one_bad_job(line: str, reason: str, tmp_path: Path):
    (tmp_path / "jobs.jsonl").write_text(f'{line}\n{{"reference": "a", "driving": "b"}}\n')
    bad, good = read_jobs(tmp_path / "jobs.jsonl")
    assert bad.spec is None
    assert bad.problem is not None
    assert bad.problem[0] == reason
    assert good.spec is not None


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"\n\n"])
def test_a_file_without_jobs_is_refused_as_a_whole(content: bytes, tmp_path: Path):
    (tmp_path / "jobs.jsonl").write_bytes(content)
    with pytest.raises(BadJobFile):
        read_jobs(tmp_path / "jobs.jsonl")


def test_two_jobs_never_write_the_same_file(inputs: Path):
    good = {"reference": "reference.png", "driving": "driver.mp4"}
    asked = [{**good, "name": "a"}, {**good, "name": "a.compare"}, {**good, "name": "a"}, good, good]
    lines = [JobLine(f"line {n}", parse_job(job, "")) for n, job in enumerate(asked, 1)]
    jobs, refused = plan_jobs(lines, settings_from({}), None, inputs, lambda path: path.name)
    assert [job.where for job in jobs] == ["line 1", "line 4"]
    assert [(r.where, r.reason) for r in refused] == [(f"line {n}", "duplicate") for n in (2, 3, 5)]
