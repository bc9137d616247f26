"""BigGAN's generator, which is also the decoder of the autoencoders made of the same parts."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets.biggan.attention import SelfAttention
from vaefast.nets.biggan.blocks import DeepUp, NormalUp
from vaefast.nets.biggan.conditional import ConditionalBatchNorm, LabelEmbedding, check_labels
from vaefast.nets.biggan.options import check_choice, resolved
from vaefast.nets.biggan.parts import Parts, initialise
from vaefast.nets.biggan.plan import ARCHS, RULES, START, attended, blocks_of, checked_ch, generator_stages, square_side
from vaefast.nets.shapes import whole_number


class BigGANGenerator(nn.Module):
    """z [B, latent_dim] (and labels [B], if it has classes) -> image [B, C, S, S] in [-1, 1], or its logits.

    A dense layer to 4x4, one stage a doubling (the last goes to S itself: 32 -> 45), then norm, activation, 3x3 and tanh.

    Args:
        image_shape: (channels, S, S), S of 8 or more.
        latent_dim: k.
        arch: "normal", one block of two 3x3 convolutions a stage, or "deep", two blocks of four convolutions through a quarter
            of the width, the second of which upsamples.
        ch: channels at the image's own size.
        blocks: residual blocks a stage, of which the last upsamples; 1 of "normal" and 2 of "deep" if None.
        rule: of widths and details. "code", Hinrichsen's released code: widths double from ch at the image down to 4x4, up to
            16 ch; no biases in the deep blocks, bilinear upsampling, nothing of the below. "paper", his text: 16 ch at 4x4,
            halved by each stage (how it ends is a reading: the text says only that the generator ends early). "original", Brock
            et al.'s (up to 128x128): 4 ch everywhere for sides up to 32, 16, 16, 8, 4, 2, 1 ch beyond; nearest upsampling,
            biases, spectral norm and orthogonal weights.
        classes: number of classes; None for none.
        embedding_dim: of the class embedding that all norms share; None for a gain and bias of each norm's own per class.
        hierarchical: condition the norms on z as well: on a chunk of it each ("normal"; k is a multiple of the number of stages
            plus 1), or on all of it ("deep").
        attention: side of the map that self-attention is applied to, such as 32 (of 64) or 64 (of 128); None for none.
        spectral_norm: on all weights but the embedding's, or the norms' own tables of classes; None as the rule has it.
        init: "torch", "orthogonal" or "normal" (std 0.02); None as the rule has it.
        activation: "relu" or "leaky_relu" (slope 0.2).
        output: "image" in [-1, 1], or "logits": the image in [0, 1] is their sigmoid. As (tanh(a) + 1) / 2 = sigmoid(2 a), both
            are the same image.

    Raises:
        ArgumentError: a value that cannot work.

    Source: Hinrichsen 2023, "Variational Autoencoders aren't Very Varied (As Generators)", and its code; Brock et al. 2019,
    "Large Scale GAN Training for High Fidelity Natural Image Synthesis", appendix B, and its PyTorch code.
    """

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int = 256, *, arch: str = "deep", ch: int = 64,
                 rule: str = "code", classes: int | None = None, embedding_dim: int | None = 128, hierarchical: bool = False,
                 attention: int | None = None, spectral_norm: bool | None = None, init: str | None = None,
                 activation: str = "relu", output: str = "image", blocks: int | None = None) -> None:
        super().__init__()
        channels, side = square_side(image_shape)
        check_choice("arch", arch, ARCHS)
        check_choice("rule", rule, RULES)
        check_choice("output", output, ("image", "logits"))
        latent_dim, ch = whole_number("latent_dim", latent_dim), checked_ch(ch, arch)
        self.latent_dim, self.arch, self.classes, self.output = latent_dim, arch, classes, output
        self.image_range = (-1, 1) if output == "image" else (0, 1)
        stages = generator_stages(side, ch, rule)
        spectral_norm, init = resolved(rule, spectral_norm, init)

        self.embedding = LabelEmbedding(whole_number("classes", classes), embedding_dim) if classes is not None else None
        embedded = self.embedding.dims if self.embedding else 0
        # what the dense layer sees, and what each stage's norms are conditioned on
        self.hierarchical, self.chunks = hierarchical, 1
        if hierarchical and arch == "normal":
            self.chunks = len(stages) + 1
            if latent_dim % self.chunks:
                raise ArgumentError(f"latent_dim is {latent_dim}; hierarchical z is cut into {self.chunks} chunks, so it must be "
                                    f"a multiple of {self.chunks}, such as {-(-latent_dim // self.chunks) * self.chunks}.")
            dense, condition = latent_dim // self.chunks, embedded + latent_dim // self.chunks
        elif hierarchical:
            dense = condition = embedded + latent_dim
        else:
            dense, condition = latent_dim, embedded
        parts = Parts(activation, spectral_norm, bias=rule == "original" or arch == "normal",
                      upsampling="nearest" if rule == "original" else "bilinear", condition=condition,
                      tables=classes is not None and embedding_dim is None and not hierarchical)
        self.parts, self.start = parts, (stages[0].inputs, START, START)
        self.fc = parts.linear(dense, stages[0].inputs * START * START)
        self.stages = nn.ModuleList()
        block = DeepUp if arch == "deep" else NormalUp
        for stage in stages:
            same = [block(stage.inputs, stage.inputs, None, parts) for _ in range(blocks_of(arch, blocks) - 1)]
            self.stages.append(nn.ModuleList([*same, block(stage.inputs, stage.outputs, stage.side, parts)]))
        self.attention = nn.ModuleDict()
        if attention is not None:
            where = attended(attention, stages, side)
            self.attention[str(where)] = SelfAttention(stages[where].outputs, parts)
        self.norm = ConditionalBatchNorm(stages[-1].outputs)
        self.last = parts.conv(stages[-1].outputs, channels, bias=True)
        initialise(self, init)

    def _conditions(self, z: Tensor, labels: Tensor | None) -> tuple[Tensor, list[Tensor | None]]:
        """What the dense layer sees, and each stage's condition."""
        check_labels(labels, self.classes)
        embedded = [] if self.embedding is None else [self.embedding(labels).to(z.dtype)]
        count = len(self.stages)
        if not self.hierarchical:
            return z, [embedded[0] if embedded else None] * count
        if self.arch == "deep":
            both = torch.cat([*embedded, z], 1)
            return both, [both] * count
        first, *rest = z.chunk(self.chunks, dim=1)
        return first, [torch.cat([*embedded, chunk], 1) for chunk in rest]

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        first, conditions = self._conditions(z, labels)
        h = self.fc(first).unflatten(1, self.start)
        for i, (blocks, condition) in enumerate(zip(self.stages, conditions)):
            for block in blocks.children():
                h = block(h, condition)
            if str(i) in self.attention:
                h = self.attention[str(i)](h)
        raw = self.last(self.parts.act(self.norm(h)))
        return 2 * raw if self.output == "logits" else F.tanh(raw)


biggan_decoder = partial(BigGANGenerator, output="logits")
"""`BigGANGenerator` as a decoder: the image in [0, 1] is the sigmoid of what it returns."""
