"""Compose, Kubernetes and Ray files against their schemas, and against the commands that there are."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pipelines.cli import parser

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "docker" / "kubernetes"
KUBERNETES_VERSION = "1.30"


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def rayjob() -> dict[str, Any]:
    return documents(KUBERNETES / "shards.yaml")[0]


def pod_templates() -> dict[str, dict[str, Any]]:
    cluster = rayjob()["spec"]["rayClusterSpec"]
    groups = {group["groupName"]: group["template"] for group in cluster["workerGroupSpecs"]}
    return {"head": cluster["headGroupSpec"]["template"], **groups}


def test_the_compose_file_follows_its_schema():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    result = subprocess.run([*command, str(ROOT / "docker/compose.yaml")], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("document", documents(KUBERNETES / "train.yaml"), ids=lambda document: document["kind"])
def test_training_objects_follow_the_schema_of_kubernetes(document: dict[str, Any]):
    kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)


@pytest.mark.parametrize("name", ["head", "cpu", "gpu"])
def test_pods_of_the_ray_cluster_follow_the_schema_of_kubernetes(name: str):
    template = pod_templates()[name]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, **template}
    kubernetes_validate.validate(pod, KUBERNETES_VERSION, strict=True)


def test_the_ray_cluster_is_of_the_version_that_is_pinned():
    constraints = (ROOT / "constraints.txt").read_text()
    assert f"\nray=={rayjob()['spec']['rayClusterSpec']['rayVersion']}\n" in constraints


def test_no_pod_runs_as_root_and_none_holds_a_secret():
    for template in pod_templates().values():
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True
    for path in (ROOT / "docker").rglob("*.yaml"):
        assert "SECRET_ACCESS_KEY: " not in path.read_text().replace("SECRET_ACCESS_KEY: ${", "")


def test_only_the_gpu_group_asks_for_gpus():
    asks = {
        name: "nvidia.com/gpu" in template["spec"]["containers"][0]["resources"]["limits"]
        for name, template in pod_templates().items()
    }
    assert asks == {"head": False, "cpu": False, "gpu": True}


def commands() -> list[tuple[str, list[str]]]:
    compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
    return [
        ("compose", compose["services"]["shards"]["command"]),
        ("rayjob", shlex.split(rayjob()["spec"]["entrypoint"])),
    ]


@pytest.mark.parametrize(("where", "command"), commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_the_commands_are_ones_that_there_are(where: str, command: list[str]):
    assert command[0] == "vividpose"
    assert parser().parse_args(command[1:]).command == "shards"


def test_the_training_pods_start_the_trainer_that_there_is():
    job = documents(KUBERNETES / "train.yaml")[1]
    script = job["spec"]["template"]["spec"]["containers"][0]["args"][0]
    for path in ("train/main.py", "train/configs/vividpose.yaml"):
        assert path in script
        assert (ROOT / path).is_file()


def test_the_hostfile_names_each_training_pod():
    service, job = documents(KUBERNETES / "train.yaml")
    script = job["spec"]["template"]["spec"]["containers"][0]["args"][0]
    for index in range(job["spec"]["completions"]):
        assert f"{job['metadata']['name']}-{index}.{service['metadata']['name']}" in script


def test_the_ray_cluster_file_is_one_that_ray_accepts():
    ray_cluster = pytest.importorskip("ray.autoscaler._private.util")
    config = yaml.safe_load((ROOT / "docker/ray/cluster.yaml").read_text())
    ray_cluster.validate_config(ray_cluster.prepare_config(config))
