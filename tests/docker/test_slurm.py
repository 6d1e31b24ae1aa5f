"""The Slurm scripts, run for real against small stand-ins of Slurm's and the launchers' commands."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SLURM = ROOT / "docker" / "slurm"

STAND_INS = {
    # srun: forget its own options, run the rest as node 1 would.
    "srun": 'while [[ $1 == --* ]]; do shift; done; export SLURM_NODEID=1; exec "$@"',
    "scontrol": 'if [ "$1" = show ]; then printf "node-a\\nnode-b\\n"; else echo "scontrol $*" >>"$TOLD"; fi',
    "ray": 'echo "ray $*" >>"$TOLD"; echo "token ${#RAY_AUTH_TOKEN}" >>"$TOLD"; eval "$WORK"',
    "deepspeed": 'echo "deepspeed $*" >>"$TOLD"; cat "$2" >>"$TOLD"; eval "$WORK"',
}


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """An environment as Slurm gives it, with the stand-ins first on the path. What they were told is in $TOLD."""
    commands = tmp_path / "bin"
    commands.mkdir()
    (tmp_path / "a run").mkdir()
    for name, body in STAND_INS.items():
        (commands / name).write_text(f"#!/bin/bash\n{body}\n")
        (commands / name).chmod(0o755)
    return {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "TOLD": str(tmp_path / "told"),
        "WORK": "true",
        "HOSTFILE": str(tmp_path / "hostfile"),
        "SLURM_JOB_ID": "42",
        "SLURM_JOB_NODELIST": "node-[a-b]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "8",
        "SLURM_GPUS_ON_NODE": "4",
        "SRC": "/my videos",
        "OUT": "/data",
        "RUN": str(tmp_path / "a run"),
    }


def run(script: str, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(SLURM / script), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def told(environment: dict[str, str]) -> list[str]:
    return Path(environment["TOLD"]).read_text().splitlines()


def interrupted(script: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The script, sent SIGUSR1 as Slurm does before the time limit, once its work has begun."""
    command = ["bash", str(SLURM / script)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    while not Path(environment["TOLD"]).exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    output, _ = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, output, "")


def test_shards_starts_ray_on_all_nodes_and_the_command_on_the_first(slurm: dict[str, str]):
    assert run("shards.sbatch", slurm, "--strict").returncode == 0
    line = shlex.split(told(slurm)[0])
    assert line[:6] == ["ray", "symmetric-run", "--address", "node-a:6379", "--min-nodes", "2"]
    assert line[line.index("--") + 1 :] == ["vividpose", "shards", "/my", "videos", "--out", "/data", "--strict"]


def test_shards_makes_a_token_for_its_cluster(slurm: dict[str, str]):
    run("shards.sbatch", slurm)
    assert told(slurm)[1] == "token 32"


def test_shards_without_a_source_says_what_to_give(slurm: dict[str, str]):
    result = run("shards.sbatch", {key: value for key, value in slurm.items() if key != "SRC"})
    assert result.returncode != 0
    assert "give the videos" in result.stderr


def test_a_failure_of_the_command_is_the_job_s_failure(slurm: dict[str, str]):
    assert run("shards.sbatch", slurm | {"WORK": "exit 2"}).returncode == 2


def test_shards_is_queued_again_before_the_time_limit(slurm: dict[str, str]):
    result = interrupted("shards.sbatch", slurm | {"WORK": "exec sleep 30"})
    assert result.returncode == 0
    assert told(slurm)[-1] == "scontrol requeue 42"


def test_training_starts_a_launcher_per_node_with_the_hosts_and_slots(slurm: dict[str, str]):
    assert run("train.sbatch", slurm, "--set", "steps=5").returncode == 0
    launcher, *hosts = told(slurm)
    assert "--no_ssh --node_rank 1 --master_addr node-a --master_port 29500 train/main.py" in launcher
    assert launcher.endswith(f"--config train/configs/vividpose.yaml --set out={slurm['RUN']} --set steps=5")
    assert hosts == ["node-a slots=4", "node-b slots=4"]


def test_training_is_told_to_save_and_is_queued_again(slurm: dict[str, str]):
    until_told = 'while [ ! -e "$RUN/stop" ]; do sleep 0.05; done; echo saved >>"$TOLD"'
    assert interrupted("train.sbatch", slurm | {"WORK": until_told}).returncode == 0
    assert told(slurm)[-2:] == ["saved", "scontrol requeue 42"]
