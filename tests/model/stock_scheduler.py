"""Diffusers' scheduler as SVD's folder has it."""

from __future__ import annotations

from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler


def svd_scheduler() -> EulerDiscreteScheduler:
    """With the published scheduler_config.json of SVD."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        sigma_min=0.002,
        sigma_max=700.0,
        use_karras_sigmas=True,
        timestep_spacing="leading",
        timestep_type="continuous",
        steps_offset=1,
    )
