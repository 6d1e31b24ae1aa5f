"""What can happen to a run: signals, damage, a full disk, two at once, other data. Real processes."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.train.runs import Run, Small, lines, losses
from tests.train.stream.small_shards import small_dataset
from train.export import export

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copy(small: Small, finished: Run) -> Path:
    """The finished run's folder, to be spoiled, as the run "copy" of `small`."""
    return Path(shutil.copytree(finished.out, small.folder / "copy"))


def test_sigterm_saves_and_the_run_goes_on_from_there(small: Small, finished: Run):
    run = small.start("one", "--set", "checkpoint.steps=100")
    run.wait_for_step(1)
    run.send(signal.SIGTERM)
    assert run.wait() == 0, run.told
    assert "stopped by SIGTERM after step" in run.told
    again = small.start("one")
    assert again.wait() == 0, again.told
    assert losses(run.out) == losses(finished.out)


@pytest.mark.slow
def test_a_second_run_in_the_folder_is_refused_and_the_first_goes_on(small: Small):
    first = small.start("one", "--set", "steps=60")
    first.wait_for_step(1)
    second = small.start("one")
    assert second.wait() == 1
    assert re.fullmatch(r"error: another run works in .*, process \d+\): wait for its end.*\n", second.told)
    (first.out / "stop").touch()
    assert first.wait() == 0, first.told


def test_a_validation_leaves_no_trace_in_the_losses_and_writes_a_strip(small: Small, finished: Run):
    checked = small.start("checked", *("--set", "validation.steps=2", "--set", "validation.sampling_steps=2"))
    assert checked.wait() == 0, checked.told
    assert losses(checked.out) == losses(finished.out)
    told = [line for line in lines(checked.out) if line.get("event") == "validation"]
    assert [line["step"] for line in told] == [2, 4, 6]
    assert all(Path(strip).is_file() and Path(strip).with_suffix(".mp4").is_file() for strip in told[0]["strips"])


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "weights"), [(0, "ema"), (1, "ema"), (3, "live")])
def test_two_ranks_validate_without_a_trace_under_zero(small: Small, finished: Run, stage: int, weights: str):
    run = small.start(
        "checked",
        *("--set", "validation.steps=2", "--set", "validation.sampling_steps=2", "--set", "validation.clips=3"),
        *("--set", f"engine.zero_stage={stage}", "--set", f"validation.weights={weights}"),
        ranks=2,
    )
    assert run.wait() == 0, run.told
    assert losses(run.out) == pytest.approx(losses(finished.out), rel=1e-5)
    assert len(list((run.out / "validation" / "step-00000006").glob("*.png"))) == 3


@pytest.mark.slow
def test_a_truncated_checkpoint_is_passed_over_for_the_one_before(small: Small, copy: Path, finished: Run):
    last = copy / "checkpoints" / "step-00000006"
    file = next(last.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])
    run = small.start("copy")
    assert run.wait() == 0, run.told
    assert "passed over" in run.told
    assert "truncated" in run.told
    assert "going on after step 4" in run.told
    assert losses(run.out) == losses(finished.out)


@pytest.mark.slow
def test_other_data_on_resume_is_refused_unless_accepted(small: Small, copy: Path, tmp_path: Path):
    other = Small(small.folder, small_dataset(tmp_path / "other", (2, 1), first=50), small.encoders)
    refused = other.start("copy", "--set", "steps=7")
    assert refused.wait() == 1
    assert len(refused.told.strip().splitlines()) == 1
    assert "dataset_hash was" in refused.told
    accepted = other.start("copy", "--set", "steps=7", "--accept-dataset-change")
    assert accepted.wait() == 0, accepted.told
    assert "the dataset changed, as accepted" in accepted.told


@pytest.mark.slow
def test_no_room_for_a_checkpoint_is_told_and_leaves_the_previous_one(small: Small):
    first = small.start("full", "--set", "steps=2")
    assert first.wait() == 0, first.told
    run = small.start("full", environment={"FILE_LIMIT": "500000"})
    assert run.wait() == 3, run.told
    assert "could not be written" in run.told
    assert max(losses(run.out)) == 6, "the run goes on without its checkpoints"
    assert [path.name for path in sorted((run.out / "checkpoints").iterdir())] == ["latest", "step-00000002"]
    again = small.start("full")
    assert again.wait() == 0, again.told


@pytest.mark.slow
def test_a_rate_that_breaks_the_weights_ends_the_run_with_the_samples_keys(small: Small):
    run = small.start("nan", "--set", "optimiser.learning_rate=1e30", "--set", "steps=20", "--set", "ema.decay=0")
    assert run.wait() == 1
    last = run.told.strip().splitlines()[-1]
    assert last.startswith("error: loss or gradient was not finite in 5 steps in a row")
    assert re.search(r"samples whose loss was not finite: \w", last)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_step_that_is_not_finite_is_skipped_by_two_ranks_alike(small: Small, stage: int):
    run = small.start(
        "nan",
        "--set",
        "optimiser.learning_rate=1e30",
        "--set",
        f"engine.zero_stage={stage}",
        "--set",
        "steps=20",
        ranks=2,
    )
    assert run.wait() == 1
    assert run.told.count("5 steps in a row") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "stage"), [(1, 0), (2, 1), (2, 3)])
def test_the_exported_average_and_weights_are_those_of_a_plain_run(small: Small, stage: int, ranks: int, finished: Run):
    run = small.start("other", "--set", f"engine.zero_stage={stage}", ranks=ranks)
    assert run.wait() == 0, run.told
    for weights in ("live", "ema"):
        folders = [small.folder / f"{source.name}-{weights}" for source in (finished.out, run.out)]
        for source, folder in zip((finished.out, run.out), folders):
            export(source, folder, weights, "fp32")
        for part in ("unet", "reference_net", "identity", "pose"):
            wanted, found = (load_file(folder / part / "diffusion_pytorch_model.safetensors") for folder in folders)
            assert wanted.keys() == found.keys()
            difference = sum(float((wanted[name] - found[name]).square().sum()) for name in wanted) ** 0.5
            size = sum(float(tensor.square().sum()) for tensor in wanted.values()) ** 0.5
            # Adam steps as far for a gradient of rounding errors as for any other: no smaller bound holds.
            assert difference < 1e-3 * size, part


@pytest.mark.slow
def test_the_deepspeed_launcher_trains_on_two_ranks(small: Small, finished: Run):
    launcher = Path(sys.executable).with_name("deepspeed")
    command = [str(launcher), "--num_accelerators", "2", "train/main.py", "--config", "tiny"]
    subprocess.run(command + small.settings(small.folder / "launched"), cwd=ROOT, check=True)
    assert losses(small.folder / "launched") == pytest.approx(losses(finished.out), rel=1e-5)


@pytest.mark.slow
def test_the_file_stop_ends_a_run_started_as_a_script(small: Small):
    out = small.folder / "script"
    out.mkdir()
    command = [sys.executable, "train/main.py", "--config", "tiny", *small.settings(out), "--set", "steps=1000"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    Run(out, [_Alive(process)], out / "log.jsonl").wait_for_step(1)
    (out / "stop").touch()
    told = process.communicate(timeout=300)[1]
    assert process.returncode == 0
    assert "stopped by the file" in told
    assert (out / "checkpoints" / "latest").exists()


class _Alive:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def is_alive(self) -> bool:
        return self.process.poll() is None
