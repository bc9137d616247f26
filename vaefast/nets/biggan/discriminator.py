"""BigGAN's discriminator, whose trunk is also the encoder of the autoencoders made of the same parts."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

from vaefast.nets.biggan.attention import SelfAttention
from vaefast.nets.biggan.blocks import DeepDown, NormalDown
from vaefast.nets.biggan.conditional import SpectralEmbedding, check_labels, projection
from vaefast.nets.biggan.options import check_choice, resolved
from vaefast.nets.biggan.parts import Parts, initialise
from vaefast.nets.biggan.plan import ARCHS, RULES, attended, blocks_of, checked_ch, discriminator_stages, square_side
from vaefast.nets.shapes import whole_number

EncoderRule = Literal["code", "paper"]
ENCODER_RULES: tuple[EncoderRule, ...] = get_args(EncoderRule)


class BigGANDiscriminator(nn.Module):
    """Image [B, C, S, S] in [-1, 1] (and labels [B], if it has classes) -> logits [B, outputs]. No norms, so that images of a
    batch do not see each other.

    A 3x3 convolution to ch, one stage a halving, activation, and a head.

    Args:
        image_shape: (channels, S, S), S of 8 or more.
        arch: "normal", one block of two 3x3 convolutions a stage, or "deep", two blocks of four convolutions, the first of
            which pools.
        ch: channels at the image's own size.
        blocks: residual blocks a stage, of which the first pools; 1 of "normal" and 2 of "deep" if None.
        outputs: of the head.
        rule: of widths and details. "code", Hinrichsen's released code: widths double with each halving down to a side of 4 to 7
            (45 -> 22 -> 11 -> 5), up to 16 ch; the last map is flattened and goes through a dense layer. "paper", his text:
            log2(S) halvings, down to 1x1, and a sum over positions instead. "original", Brock et al.'s: as "code" but 4 ch
            everywhere and a halving less for sides up to 32; the sum, spectral norm, orthogonal weights, and in "normal" a first
            block that sees the image itself.
        classes: number of classes; the product of the label's embedding and the head's input is then added to the logits
            (projection).
        attention: side of the map that self-attention is applied to; None for none.
        spectral_norm, init, activation: as in `BigGANGenerator`; spectral norm is on the embedding, too.

    Raises:
        ArgumentError: a value that cannot work.

    Source: as `BigGANGenerator`; projection: see `projection`.
    """

    rowwise = True

    def __init__(self, image_shape: tuple[int, int, int], *, arch: str = "deep", ch: int = 64, outputs: int = 1,
                 rule: str = "code", classes: int | None = None, attention: int | None = None, spectral_norm: bool | None = None,
                 init: str | None = None, activation: str = "relu", blocks: int | None = None) -> None:
        super().__init__()
        channels, side = square_side(image_shape)
        check_choice("arch", arch, ARCHS)
        check_choice("rule", rule, RULES)
        ch, outputs = checked_ch(ch, arch), whole_number("outputs", outputs)
        spectral_norm, init = resolved(rule, spectral_norm, init)
        parts = self.parts = Parts(activation, spectral_norm)
        self.classes, self.sums, original = classes, rule != "code", rule == "original"

        from_image = original and arch == "normal"
        stages = discriminator_stages(side, ch, rule, channels if from_image else None)
        self.stem = None if from_image else parts.conv(channels, stages[0].inputs)
        self.stages, self.attention = nn.ModuleList(), nn.ModuleDict()
        for i, stage in enumerate(stages):
            inputs, width, pool, more = stage.inputs, stage.outputs, stage.resamples, blocks_of(arch, blocks) - 1
            of_stage: list[nn.Module]
            if arch == "normal":
                of_stage = [NormalDown(inputs, width, pool, parts, preactivation=i > 0 or not from_image),
                            *(NormalDown(width, width, False, parts) for _ in range(more))]
            else:
                hidden = (width // 4, width // 4) if original else (inputs // 2, width // 2)
                of_stage = [DeepDown(inputs, width, pool, hidden[0], parts),
                            *(DeepDown(width, width, False, hidden[1], parts) for _ in range(more))]
            self.stages.append(nn.ModuleList(of_stage))
        if attention is not None:
            where = attended(attention, stages, side)
            self.attention[str(where)] = SelfAttention(stages[where].outputs, parts)
        features = stages[-1].outputs * (1 if self.sums else stages[-1].side ** 2)
        self.head = parts.linear(features, outputs)
        self.embedding = None
        if classes is not None:
            self.embedding = (SpectralEmbedding if spectral_norm else nn.Embedding)(whole_number("classes", classes), features)
        initialise(self, init)

    def features(self, x: Tensor) -> Tensor:
        """What the head sees, [B, features]."""
        h = x if self.stem is None else self.stem(x)
        for i, blocks in enumerate(self.stages):
            for block in blocks.children():
                h = block(h)
            if str(i) in self.attention:
                h = self.attention[str(i)](h)
        h = self.parts.act(h)
        return h.sum((2, 3)) if self.sums else h.flatten(1)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        check_labels(labels, self.classes)
        h = self.features(x)
        logits = self.head(h)
        return logits if self.embedding is None or labels is None else logits + projection(self.embedding, labels, h)


class BigGANEncoder(nn.Module):
    """Image [B, C, S, S] in [0, 1] -> (mu, logvar), [B, latent_dim] each; mu alone if `deterministic`.

    The discriminator's trunk, which sees the image in [-1, 1], with a head of 2 latent_dim outputs.

    Args:
        image_shape, arch, ch, attention, spectral_norm, init, activation, blocks: as in `BigGANDiscriminator`.
        rule: "code" or "paper"; under "original" the head's sum would start with deviations of exp(10) and more.
        latent_dim: k.
        deterministic: latent_dim outputs, mu, and that alone is returned.

    Raises:
        ArgumentError: a value that cannot work.

    Source: Hinrichsen 2023.
    """

    scale_param = "logvar"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int = 256, *, deterministic: bool = False,
                 arch: str = "deep", ch: int = 64, rule: str = "code", attention: int | None = None,
                 spectral_norm: bool | None = None, init: str | None = None, activation: str = "relu",
                 blocks: int | None = None) -> None:
        super().__init__()
        check_choice("rule", rule, ENCODER_RULES)
        self.deterministic = deterministic
        outputs = whole_number("latent_dim", latent_dim) * (1 if deterministic else 2)
        self.trunk = BigGANDiscriminator(image_shape, arch=arch, ch=ch, outputs=outputs, rule=rule, attention=attention,
                                         spectral_norm=spectral_norm, init=init, activation=activation, blocks=blocks)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        out = self.trunk(2 * x - 1)
        if self.deterministic:
            return out
        mu, logvar = out.chunk(2, dim=1)
        return mu, logvar
