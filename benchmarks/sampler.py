"""What the sampler's fast modes lose, where it can be known without trained weights: data with an analytic denoiser.

    python -m benchmarks.sampler

The data is a mixture of Gaussians in 32 dimensions, of variance about 1, in two classes; inside a component the
deviation falls from 0.5 to 0.01, as coarse shapes and fine detail do. Guidance is between the class and the whole
mixture, at SVD's mean scale 2. The numbers order the modes and show where an error lies; they do not say how a video of
a trained model looks.

error: root mean square distance to the end of 1000 steps from the same noise with full guidance, in data deviations.
coarse, fine: deviation within a component along the eight coarsest and the eight finest dimensions, as a share of that
    reference's. Below 1: detail is lost. Far above: samples are left between the components.
forwards: network evaluations of a clip; guided steps need two.
"""

from __future__ import annotations

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from model.guidance import Guidance, guided
from model.noise import FrameNoise
from model.sampler import sample
from model.schedule import align_your_steps_sigmas, karras_sigmas
from model.windows import Windows

DIMENSIONS, COMPONENTS, SAMPLES = 32, 16, 4000
EDGE = 8  # how many dimensions count as coarse, and as fine


class Mixture:
    """Components of equal weight and one diagonal covariance; the first half of them is the class that is asked for."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.centres = torch.randn(COMPONENTS, DIMENSIONS, generator=generator, dtype=torch.float64)
        self.std = torch.logspace(torch.tensor(0.5).log10().item(), -2, DIMENSIONS, dtype=torch.float64)
        self.forwards = 0

    def responsibilities(self, x: Tensor, sigma: float, components: int) -> Tensor:
        """x: (N, D). The share of each component in each sample, (N, components)."""
        scale = (self.std**2 + sigma**2).rsqrt()
        return (-0.5 * torch.cdist(x * scale, self.centres[:components] * scale).square()).softmax(1)

    def predict(self, x: Tensor, sigma: float, frames: range, conditional: tuple[bool, ...]) -> Tensor:
        """`guidance.Predict`: latents (1, 1, D, 1, N), a sample per place."""
        points = x[0, 0, :, 0].double().T
        keep = self.std**2 / (self.std**2 + sigma**2)
        halves = []
        for half in conditional:
            self.forwards += 1
            components = COMPONENTS // 2 if half else COMPONENTS
            centre = self.responsibilities(points, sigma, components) @ self.centres[:components]
            halves.append((centre + keep * (points - centre)).T[None, None, :, None].float())
        return torch.stack(halves)

    def within(self, points: Tensor) -> Tensor:
        """The deviation of samples (N, D) from the centre of their component, along each dimension: (D,)."""
        nearest = self.responsibilities(points, 0.0, COMPONENTS).argmax(1)
        counts = nearest.bincount(minlength=COMPONENTS).clamp(min=1).double()
        means = torch.zeros_like(self.centres).index_add_(0, nearest, points) / counts[:, None]
        return (points - means[nearest]).square().mean(0).sqrt()


def main() -> None:
    mixture, noise, one_frame = Mixture(), FrameNoise((0,), (DIMENSIONS, 1, SAMPLES)), Windows(1, 14, 4)

    def run(sigmas: tuple[float, ...], guidance: Guidance) -> Tensor:
        mixture.forwards = 0
        ((_, latent),) = sample(guided(mixture.predict, guidance), noise, one_frame, sigmas)
        return latent[0, :, 0].double().T

    none, full = Guidance(1.0, 1.0), Guidance(2.0, 2.0)
    rows = [("Karras", karras_sigmas(steps), full) for steps in (100, 50, 25, 15, 10, 5)]
    rows += [("Align Your Steps", align_your_steps_sigmas(steps), full) for steps in (50, 25, 15, 10, 5)]
    intervals = [(0.02, 700.0), (0.2, 700.0), (0.2, 20.0), (1.0, 20.0), (0.2, 5.0)]
    rows += [("Karras", karras_sigmas(25), Guidance(2.0, 2.0, *interval)) for interval in intervals]
    rows += [("Karras", karras_sigmas(25), none)]
    rows += [("Align Your Steps", align_your_steps_sigmas(10), Guidance(2.0, 2.0, 0.2, 20.0))]

    reference = run(karras_sigmas(1000), full)
    spread = mixture.within(reference)
    table = Table("schedule", "steps", "guidance where", "forwards", "error", "coarse", "fine")
    for name, sigmas, guidance in rows:
        points = run(sigmas, guidance)
        share = mixture.within(points) / spread
        interval = f"{guidance.sigma_low:g} < sigma <= {guidance.sigma_high:g}"
        where = "everywhere" if guidance == full else "nowhere" if guidance == none else interval
        table.add_row(
            name,
            str(len(sigmas) - 1),
            where,
            str(mixture.forwards),
            f"{(points - reference).square().mean().sqrt():.3f}",
            f"{share[:EDGE].mean():.2f}",
            f"{share[-EDGE:].mean():.2f}",
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
