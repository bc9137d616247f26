"""A second stage: what has learned how another model's codes z are distributed, and models that have one.

It is a `VAE` whose examples are codes and whose latents are u (Dai & Wipf 2019, section 4, and their code, `generate`: unlike
images, codes get the noise of its decoder), a `FlowMatching`, which carries u to codes, or a `Mixture`, which has no u.
All run in eval mode.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor

from vaefast.errors import ArgumentError
from vaefast.models.condition import as_classes, conditions_for, is_conditional, told
from vaefast.models.draws import Draws, Sampler
from vaefast.models.flow_matching import FlowMatching
from vaefast.models.mode import evaluating
from vaefast.models.samplers import Mixture
from vaefast.models.vae import VAE

SecondStage = VAE | FlowMatching | Mixture


class TwoStages(Draws):
    """How a model whose codes a second stage has learned draws: `first` codes images, `second` is that stage, or None.

    What it draws from has to have `decode`.
    """

    first: Any
    second: SecondStage | None

    @property
    def classes(self) -> int:
        """Of the labels that the second stage knows; 0: none."""
        return getattr(self.second, "classes", 0)

    @property
    def condition_dim(self) -> int:
        """Numbers of the vectors that the second stage is told; 0: none."""
        return getattr(self.second, "condition_dim", 0)

    def sample_codes(self, n: int, generator: torch.Generator | None = None, *, stage: int | None = None, condition: Any = None,
                     **options: Any) -> Tensor:
        """n codes z, [n, k]: stage 1, from the prior; stage 2, z = z_hat(u) + gamma_z eps with u ~ N(0, I); None: by the last
        stage there is. Of classes, where `condition` says so (one for all, or n of them); a flow takes the options `steps`,
        `solver` and `guidance`, too."""
        if stage not in (None, 1, 2) or stage == 2 and self.second is None:
            raise ArgumentError(f"stage is {stage!r}; expected 1 (the prior){' or 2 (the second stage)' if self.second else ''}.")
        if stage == 1 or self.second is None:
            if condition is not None or options:
                what = "condition" if condition is not None else ", ".join(options)
                raise ArgumentError(f"{what} is for the second stage; the codes of stage 1 are drawn from its prior.")
            return self.first.prior(n, generator)
        return draw_codes(self.second, n, generator, condition=condition, **options)

    def recode(self, z: Tensor, condition: Any = None, generator: torch.Generator | None = None) -> Tensor:
        """Codes z [B, k] passed through the second stage: u ~ q(u|z), z = z_hat(u) + gamma_z eps; a flow's way back and forth, of
        a `condition` where it knows any."""
        if self.second is None:
            raise ArgumentError("the model was built without a second stage, through which codes could pass.")
        return recode(self.second, z, condition, generator)

    def sample(self, n: int, generator: torch.Generator | None = None, *, stage: int | None = None, condition: Any = None,
               **options: Any) -> Tensor:
        """n images, [n, C, H, W] in [0, 1], decoded from `sample_codes`, which says what else can be asked for: codes get the
        second stage's noise, images never any. Where `first` is conditioned, too, codes and images are of the same classes."""
        classes = None
        if is_conditional(self.first):
            classes = conditions_for(self.first, n, condition, generator)
            condition = classes if stage != 1 and self.second is not None else None
        codes = self.sample_codes(n, generator, stage=stage, condition=condition, **options)
        return self.decode(codes, generator, **told(self.first, classes))  # type: ignore[attr-defined]

    def samplers(self, stage: str | None = None) -> dict[str, Sampler]:
        """"prior" and "second"; while "stage1" trains the first alone, as the second stage knows nothing yet."""
        names = {"prior": 1} if self.second is None or stage == "stage1" else {"prior": 1, "second": 2}
        return {name: partial(self.sample, stage=number) for name, number in names.items()}


def has_latents(second: SecondStage | None) -> TypeGuard[VAE | FlowMatching]:
    """Whether codes have latents u in it."""
    return second is not None and not isinstance(second, Mixture)


def latents_of(second: SecondStage, z: Tensor, generator: torch.Generator | None = None, condition: Any = None) -> Tensor:
    """u of codes z [B, k], [B, k]: a draw of q(u|z), or what the flow carries to z, of a `condition` where it knows any.

    Raises:
        ArgumentError: the second stage is a mixture, or knows no condition.
    """
    if isinstance(second, Mixture):
        raise ArgumentError("the second stage is a mixture of Gaussians, in which codes have no latents u.")
    given = told(second, condition)
    with evaluating(second):
        return second.encode(z, **given) if isinstance(second, FlowMatching) else second.encode(z, **given).sample(generator)


def draw_codes(second: SecondStage, n: int, generator: torch.Generator | None = None, *, condition: Any = None,
               **options: Any) -> Tensor:
    """n codes, [n, k]: z = z_hat(u) + gamma_z eps with u ~ N(0, I); a flow's or a mixture's draws, of classes on request.

    Raises:
        ArgumentError: a condition, or an option, that the second stage does not know.
    """
    if options and not isinstance(second, FlowMatching):
        raise ArgumentError(f"{', '.join(options)} is for a second stage that is a flow.")
    if isinstance(second, VAE):
        as_classes(condition, n, 0, torch.device("cpu"))
        return _decode(second, second.prior(n, generator), generator)
    return second.sample(n, generator, condition=condition, **options)


def recode(second: SecondStage, z: Tensor, condition: Any = None, generator: torch.Generator | None = None) -> Tensor:
    """Codes z [B, k] passed through the second stage: u of z (`latents_of`), and codes of u."""
    if isinstance(condition, torch.Generator):  # which stood here before there were conditions
        condition, generator = None, condition
    u = latents_of(second, z, generator, condition)
    assert not isinstance(second, Mixture)
    return _decode(second, u, generator) if isinstance(second, VAE) else second.decode(u, condition=condition)


def _decode(second: VAE, u: Tensor, generator: torch.Generator | None) -> Tensor:
    with evaluating(second):
        z = second.decode(u)
    eps = torch.randn(z.shape, generator=generator, device=z.device, dtype=z.dtype)
    return z + second.gamma * eps
