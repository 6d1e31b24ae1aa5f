"""What can be checked of the images without a container engine."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
TOOLS = Path(sys.executable).parent


def tool(name: str) -> str:
    found = shutil.which(name, path=str(TOOLS)) or shutil.which(name)
    assert found, f"{name} is one of the development dependencies: make setup-dev"
    return found


def instructions(kind: str) -> list[str]:
    parser = DockerfileParser(fileobj=DOCKERFILE.open("rb"))
    return [step["value"] for step in parser.structure if step["instruction"] == kind]


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def test_the_dockerfile_passes_the_linter():
    result = subprocess.run([tool("hadolint"), str(DOCKERFILE)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("script", sorted((ROOT / "docker").rglob("*.s*")), ids=lambda path: path.name)
def test_shell_scripts_pass_shellcheck(script: Path):
    result = subprocess.run([tool("shellcheck"), str(script)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_both_images_end_as_a_user_without_rights():
    text = DOCKERFILE.read_text()
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    users = {stage.split(" AS ")[1].split()[0]: re.findall(r"^USER (\S+)", stage, re.MULTILINE) for stage in stages}
    assert users["pipelines"] == ["10001:10001"]
    assert users["train"] == ["10001:10001"]


def test_what_the_images_copy_exists_and_is_sent_to_the_builder():
    patterns = [line.strip() for line in (ROOT / ".dockerignore").read_text().splitlines()]
    allowed = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    for value in instructions("COPY"):
        for source in value.split()[:-1]:
            name = source.removeprefix("./")
            assert (ROOT / name).exists(), name
            assert any(fnmatch.fnmatch(name, pattern) or name.startswith(f"{pattern}/") for pattern in allowed), name


@pytest.mark.parametrize("extras", [["s3"], ["full", "serve", "evaluate", "cluster"], ["train"]], ids="+".join)
def test_every_requirement_of_an_image_is_pinned(extras: list[str]):
    command = [sys.executable, str(ROOT / "docker" / "requirements.py"), str(ROOT / "pyproject.toml"), *extras]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    names = {re.split(r"[\[<>=]", line)[0].lower().replace("_", "-") for line in lines}
    known = {name.lower().replace("_", "-") for name in pinned()}
    assert names <= known, names - known


def test_what_the_extra_of_ray_asks_for_is_pinned():
    wanted = {
        requirement.name.lower().replace("_", "-")
        for requirement in map(Requirement, metadata.requires("ray") or ())
        if requirement.marker is not None and requirement.marker.evaluate({"extra": "default"})
    }
    known = {name.lower().replace("_", "-") for name in pinned()}
    assert wanted <= known, wanted - known


def test_the_extras_that_the_dockerfile_names_exist():
    steps = [step for step in instructions("RUN") if "requirements.py" in step]
    assert len(steps) == 3
    for step in steps:
        extras = re.search(r"requirements.py pyproject.toml ([a-z0-9 ]+?) >", step)
        assert extras
        command = [sys.executable, "docker/requirements.py", "pyproject.toml", *extras[1].split()]
        assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0


def test_the_cluster_s_image_has_what_kuberay_calls_in_it():
    installed = " ".join(instructions("RUN"))
    assert " wget " in installed, "its health probes are wget commands, its pods are killed without"
    assert re.search(r"requirements.py pyproject.toml [a-z0-9 ]*\bcluster\b", installed), (
        "they ask ray[default]'s agent"
    )


def test_an_unknown_extra_is_one_clear_line():
    command = [sys.executable, "docker/requirements.py", "pyproject.toml", "gpus"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert "no extra gpus" in result.stderr


def test_no_weights_are_copied_into_an_image():
    copied = " ".join(instructions("COPY"))
    assert "weights" not in copied
    assert "*" not in copied


def test_the_images_start_with_the_doctor_as_smoke_test():
    assert instructions("CMD") == ['["vividpose", "doctor"]'] * 2
    assert all(value.endswith('CMD ["vividpose", "doctor"]') for value in instructions("HEALTHCHECK"))
