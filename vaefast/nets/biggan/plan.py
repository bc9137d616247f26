"""Sizes and widths of BigGAN's stages: what each rule makes of an image's side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from vaefast.errors import ArgumentError
from vaefast.nets.shapes import checked_image_shape, whole_number

Arch = Literal["normal", "deep"]
ARCHS: tuple[Arch, ...] = get_args(Arch)
Rule = Literal["code", "paper", "original"]
RULES: tuple[Rule, ...] = get_args(Rule)
START = 4
"""Side of the generator's first map."""
WIDEST = 16
"""Widths stop at 16 ch, as in the original at 128x128."""


@dataclass(frozen=True)
class Stage:
    """A step of a network from one width to the next, and the side of its map behind it."""

    inputs: int
    outputs: int
    side: int
    resamples: bool = True


def checked_ch(ch: int, arch: str) -> int:
    """`ch`, if the architecture can halve it; `ArgumentError` otherwise."""
    if arch == "deep" and whole_number("ch", ch) % 2:
        raise ArgumentError(f"ch is {ch}; the deep blocks halve it, so it must be even.")
    return whole_number("ch", ch)


def blocks_of(arch: str, blocks: int | None) -> int:
    """Residual blocks a stage: `blocks`, or the architecture's own if None."""
    return {"normal": 1, "deep": 2}[arch] if blocks is None else whole_number("blocks", blocks)


def square_side(image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Channels and side of square images of 8 pixels or more; `ArgumentError` otherwise."""
    channels, height, width = checked_image_shape(image_shape)
    if height != width or height < 2 * START:
        raise ArgumentError(f"image_shape is {(channels, height, width)}; BigGAN's networks take square images of a side of "
                            f"{2 * START} or more (32, 45, 64, 128, ...). Crop or resize the images.")
    return channels, height


def generator_stages(side: int, ch: int, rule: str) -> list[Stage]:
    """One stage a doubling from 4x4 on, the last of which goes to `side` itself (32 -> 45)."""
    count = math.ceil(math.log2(side / START))
    if rule == "paper":
        factors = [max(WIDEST >> i, 1) for i in range(count + 1)]
    elif rule == "original" and count <= 3:
        factors = [4] * (count + 1)
    elif rule == "original":
        factors = [WIDEST, *(max(WIDEST >> i, 1) for i in range(count))]
    else:
        factors = [min(2 ** (count - i), WIDEST) for i in range(count + 1)]
    sides = [START * 2**i for i in range(1, count)] + [side]
    return [Stage(a * ch, b * ch, s) for a, b, s in zip(factors, factors[1:], sides)]


def discriminator_stages(side: int, ch: int, rule: str, image_channels: int | None = None) -> list[Stage]:
    """One stage a halving (45 -> 22 -> 11 -> 5), down to a side of 4 to 7; to 1 under the rule "paper".

    With `image_channels` the first stage sees the image itself and takes the place of the convolution to ch.
    """
    if rule == "original":
        doublings = math.ceil(math.log2(side / START))
        small = doublings <= 3
        factors = [4] * (doublings + 1) if small else [min(2**i, WIDEST) for i in range(doublings + 1)]
        halvings = max(1, doublings - 1) if small else doublings
    else:
        halvings = int(math.log2(side if rule == "paper" else side / START))
        factors = [min(2**i, WIDEST) for i in range(halvings + 1)]
    widths = [*([image_channels] if image_channels else []), *(f * ch for f in factors)]
    return [Stage(a, b, side >> min(i + 1, halvings), i < halvings) for i, (a, b) in enumerate(zip(widths, widths[1:]))]


def attended(attention: int, stages: list[Stage], side: int) -> int:
    """Index of the first stage whose map has the side `attention`; `ArgumentError` if none has."""
    for i, stage in enumerate(stages):
        if stage.side == attention and stage.outputs % 8 == 0:
            return i
    sides = ", ".join(dict.fromkeys(str(s.side) for s in stages if s.outputs % 8 == 0)) or "none"
    raise ArgumentError(f"attention is {attention!r}; the network of {side}x{side} images has maps of these sides (and a "
                        f"multiple of 8 channels, which attention needs): {sides}.")
