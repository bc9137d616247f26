"""Drawing an image pixel by pixel: incrementally, and by the book."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor


class Autoregressive(Protocol):
    """What a decoder must have to be drawn from pixel by pixel."""

    image_shape: tuple[int, int, int]

    def __call__(self, z: Tensor, x: Tensor) -> Tensor: ...

    def draw(self, raw: Tensor, uniforms: Tensor) -> Tensor: ...


class Steps:
    """Base of the incremental passes of a decoder: what is done at the start of a row, and at a pixel.

    Args:
        decoder: its `draw(raw [B, R], uniforms [B, D])` gives the pixel [B, C] in [0, 1].
        uniforms: [B, D, H, W].
        scales: feature maps of scale s have H / 2^s x W / 2^s pixels, and are worked on at every 2^s-th row and pixel.

    A subclass writes `row(scales)` and `pixel(scales)`, for the number of scales that are due; they read where they are
    from `self.line` and `self.at`, tensors of one element. What they leave for each other lies in tensors made beforehand.
    """

    def __init__(self, decoder: Autoregressive, uniforms: Tensor, scales: int = 1) -> None:
        self.decoder, self.scales = decoder, scales
        self.channels, self.height, self.width = decoder.image_shape
        self.batch = len(uniforms)
        self.uniforms = uniforms.permute(2, 3, 0, 1).flatten(0, 1).contiguous()
        self.image = uniforms.new_zeros(self.height * self.width, self.channels, self.batch)
        self.line = torch.zeros(1, dtype=torch.long, device=uniforms.device)
        self.at = torch.zeros(1, dtype=torch.long, device=uniforms.device)

    def row(self, scales: int) -> None:
        """What is due at the start of row `self.line`."""
        raise NotImplementedError

    def pixel(self, scales: int) -> None:
        """What is due at pixel `self.at`; ends with `self.settle`."""
        raise NotImplementedError

    def settle(self, raw: Tensor) -> Tensor:
        """Draw pixel `self.at` from raw [R, B], keep it, and go on to the next: [C, B]."""
        uniforms = self.uniforms.index_select(0, self.at)[0]
        value = self.decoder.draw(raw.t(), uniforms).t()
        self.image.index_copy_(0, self.at, value[None])
        return value

    def _row(self, scales: int) -> None:
        self.row(scales)
        self.line.add_(1)

    def _pixel(self, scales: int) -> None:
        self.pixel(scales)
        self.at.add_(1)

    def run(self) -> Tensor:
        """The image, [B, C, H, W]."""
        steps: dict[tuple[Callable[[int], None], int], Callable[[], None]] = {
            (step, n): partial(step, n) for step in (self._row, self._pixel) for n in range(1, self.scales + 1)}
        if self.at.is_cuda:
            steps = {key: self._captured(step) for key, step in steps.items()}
        due = [next(s for s in range(self.scales, 0, -1) if n % 2 ** (s - 1) == 0) for n in range(max(self.height, self.width))]
        for i in range(self.height):
            steps[self._row, due[i]]()
            for j in range(self.width):
                steps[self._pixel, min(due[i], due[j])]()
        return self.image.view(self.height, self.width, self.channels, self.batch).permute(3, 2, 0, 1).contiguous()

    def _captured(self, step: Callable[[], None]) -> Callable[[], None]:
        """`step` as a CUDA graph. What trying it out writes is written again before it is read."""
        stream = torch.cuda.Stream(self.at.device)
        stream.wait_stream(torch.cuda.current_stream(self.at.device))
        with torch.cuda.stream(stream):
            step()
        torch.cuda.current_stream(self.at.device).wait_stream(stream)
        self.line.zero_()
        self.at.zero_()
        graph = torch.cuda.CUDAGraph()
        # threads that read data may go on meanwhile
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            step()
        return graph.replay


@torch.no_grad()
def generate_naively(decoder: Autoregressive, z: Tensor, uniforms: Tensor, pixels: int | None = None) -> Tensor:
    """The image [B, C, H, W] by a whole forward pass for every pixel (the first `pixels` of them): what the incremental
    pass must equal, and is measured against. The decoder is expected in eval mode."""
    channels, height, width = decoder.image_shape
    image = z.new_zeros(len(z), channels, height, width)
    for n in range(height * width if pixels is None else pixels):
        i, j = divmod(n, width)
        raw = decoder(z, image)[:, :, i, j]
        image[:, :, i, j] = decoder.draw(raw, uniforms[:, :, i, j])
    return image
