"""The DeepSpeed engine: its configuration from ours, and the optimiser."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

import torch
from torch import Tensor, nn

from train.settings import EngineSettings, OptimiserSettings

log = logging.getLogger(__name__)


def start_distributed() -> tuple[int, int, torch.device]:
    """Join the process group that a launcher described, or be one of one. Returns rank, ranks and this rank's device.

    Without a GPU the ranks talk through gloo, and DeepSpeed's operator for shared memory is not compiled (it takes
    minutes and a compiler, for nothing that counts here).
    """
    if "RANK" not in os.environ:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
        os.environ["MASTER_PORT"] = str(port)
    gpu = torch.cuda.is_available()
    if not gpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed
    import deepspeed.ops

    if not gpu:
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed("nccl" if gpu else "gloo", verbose=False)
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    return torch.distributed.get_rank(), torch.distributed.get_world_size(), device


class ClippedAdamW(torch.optim.AdamW):
    """AdamW for ZeRO 0, where DeepSpeed leaves fp32 gradients to the optimiser: clips by the norm over all parameters,
    and leaves everything as it is when that norm is not finite. Gradients are the same on all ranks here, so is the
    decision.
    """

    def __init__(self, parameters: Any, clip: float, **options: Any) -> None:
        super().__init__(parameters, **options)
        self.clip = clip
        self.overflow = False
        self._global_grad_norm = 0.0

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = float(nn.utils.get_total_norm(gradients))
        self.overflow = not (norm < float("inf"))
        self._global_grad_norm = norm
        if self.overflow:
            return None
        if self.clip and norm > self.clip:
            torch._foreach_mul_(gradients, self.clip / (norm + 1e-6))
        return super().step(closure)


def deepspeed_config(engine: EngineSettings, clip: float, clips_at_once: int, accumulation: int) -> dict[str, Any]:
    """DeepSpeed's configuration. Steps whose gradient is not finite are skipped by every stage."""
    half = engine.precision == "bf16" and engine.zero_stage > 0
    zero: dict[str, Any] = {
        "stage": engine.zero_stage,
        "ignore_unused_parameters": True,
        "round_robin_gradients": False,
    }
    if engine.offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    return {
        "train_micro_batch_size_per_gpu": clips_at_once,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": clip if engine.zero_stage else 0.0,
        "bf16": {"enabled": half, "check_grad_overflow": True} if half else {"enabled": False},
        "data_types": {"grad_accum_dtype": engine.accumulation if half else "fp32"},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": None,
    }


def start_engine(
    module: nn.Module,
    trainable: list[nn.Parameter],
    engine: EngineSettings,
    optimiser: OptimiserSettings,
    clips_at_once: int,
    accumulation: int,
) -> Any:
    """A `DeepSpeedEngine` around `module`, whose forward gives the loss. Casts the module's weights to bf16 where the
    settings say so: the caller hands the exact weights to `Masters.set_weights` afterwards."""
    import deepspeed
    from deepspeed.utils import logger

    logger.setLevel(logging.ERROR)  # what it warns of is told by the log and the guards
    options: dict[str, Any] = {
        "lr": optimiser.learning_rate,
        "betas": optimiser.betas,
        "eps": optimiser.epsilon,
        "weight_decay": optimiser.weight_decay,
        # One kernel; the default would make copies as large as this rank's part of the weights.
        "fused": torch.cuda.is_available() and not engine.offload,
    }
    if engine.zero_stage:
        adam: torch.optim.Optimizer = torch.optim.AdamW(trainable, **options)
    else:
        adam = ClippedAdamW(trainable, clip=optimiser.clip, **options)
    config = deepspeed_config(engine, optimiser.clip, clips_at_once, accumulation)
    return deepspeed.initialize(model=module, optimizer=adam, config=config)[0]


def set_learning_rate(engine: Any, rate: float) -> None:
    for group in engine.optimizer.param_groups:
        group["lr"] = rate


def was_skipped(engine: Any) -> bool:
    """Whether the last optimiser step was left out since its gradient was not finite. The same on all ranks."""
    return bool(getattr(engine.optimizer, "overflow", False))


def gradient_norm(engine: Any) -> float:
    """Before clipping, over all parameters; of the last optimiser step."""
    norm = engine.get_global_grad_norm()
    return float(norm.item() if isinstance(norm, Tensor) else norm)
