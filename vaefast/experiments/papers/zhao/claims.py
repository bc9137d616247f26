"""What the paper says of its figures, held against what was measured here."""

from __future__ import annotations

from typing import Any

from vaefast.experiments.papers.claims import Claim, by_name, claim, less, mean_of, monotone
from vaefast.experiments.papers.zhao.chains import series

SATURATED = 0.05
"""Within this share of its ceiling an estimate of mutual information is saturated."""
USELESS = 0.1
"""Nats below which codes tell nothing."""
BEATS = 2.0
ALIKE = 1.5
"""Two distances are alike if neither is so many times the other."""
CLOSE = 0.15
"""Share by which the error of figure 2 may differ from the variance that it is said to be."""
BLURRED = 0.5


def of_map(record: dict[str, Any]) -> list[Claim]:
    """Of figure 2."""
    row = {"map": record["rows"][0]} if record["rows"] else {}
    error, variance, bias, blur = (mean_of(row, "map", key) for key in ("error", "variance", "bias", "blur"))
    if error is None or variance is None or bias is None or blur is None:
        return []
    return [
        Claim(f"the best decoder draws the mean of the images that share a code (here: to within {CLOSE:.0%} of their variance)",
              f"squared distance {bias:.3g}, variance {variance:.4g}", bias <= CLOSE * variance),
        Claim(f"the error that remains is the variance of the images that share a code (here: to within {CLOSE:.0%})",
              f"error {error:.4g}, variance {variance:.4g}", abs(error / variance - 1) <= CLOSE),
        Claim(f"pictures are blurred where that variance is high (here: a rank correlation above {BLURRED:g})",
              f"rank correlation {blur:.2f}", blur > BLURRED)]


def of_chain(record: dict[str, Any]) -> list[Claim]:
    """Of figure 4: that the Sequential VAE gets better with every step."""
    error, sharp = (series(record, "sequential", key) for key in ("step_error", "step_sharpness"))
    if not error:
        return []
    of_data = record["rows"][-1]["sequential_step_sharpness"]["mean"]
    return [
        monotone("reconstructions get better with every step (here: the squared error of test images)", error, falls=True),
        monotone("samples get sharper with every step (here: the variance of the Laplacian)", sharp,
                 words=f" (data: {of_data:.3g})")]


def of_propositions(record: dict[str, Any]) -> list[Claim]:
    """Of the propositions."""
    return [Claim(s["text"], s["measured"], s["holds"]) for s in record["statements"]]


def of_pixels(record: dict[str, Any]) -> list[Claim]:
    """Of figure 5."""
    rows = by_name(record)
    useless = (_useless(rows, "elbo", "with the ELBO, its KL 78 times too heavy as published, they tell nothing"),
               _useless(rows, "center", "with the centring regulariser they tell nothing"))
    return [_saturated(rows, "none"), *useless, *_of_draws(rows, "none", "elbo", "loss")]


def of_colour(record: dict[str, Any]) -> list[Claim]:
    """Of figure 5's experiment in colour."""
    rows = by_name(record)
    return [_saturated(rows, "colour-none"), _useless(rows, "colour-elbo", "with the ELBO they tell nothing"),
            *_of_draws(rows, "colour-none", "colour-elbo", "bits")]


def _of_draws(rows: dict[str, Any], none: str, elbo: str, loss: str) -> list[Claim]:
    text = ("without a regulariser samples of the chain are good where ancestral ones are not (here: an FD-classifier at least "
            f"{BEATS:g} times lower)")
    return [less(rows, loss, none, elbo, "without a regulariser the loss is lower than with the ELBO"),
            claim(text, _distances(rows, none), lambda a, c: f"{c:.4g} against {a:.4g}, {a / c:.3g} times",
                  lambda a, c: BEATS * c <= a),
            claim(f"with the ELBO the two are alike (here: neither FD-classifier {ALIKE:g} times the other)",
                  _distances(rows, elbo), lambda a, c: f"{c:.4g} against {a:.4g}", lambda a, c: max(a, c) <= ALIKE * min(a, c))]


def _distances(rows: dict[str, Any], name: str) -> list[float | None]:
    """Of ancestral samples and of those of chains."""
    return [mean_of(rows, name, key) for key in ("fd_ancestral", "fd_chain")]


def _saturated(rows: dict[str, Any], name: str) -> Claim:
    text = ("without a regulariser codes tell as much about their images as the estimate can show (here: within "
            f"{SATURATED:.0%} of log N)")
    return claim(text, [mean_of(rows, name, key) for key in ("information", "ceiling")],
                 lambda value, ceiling: f"{value:.4g} of at most {ceiling:.4g} nats",
                 lambda value, ceiling: value >= (1 - SATURATED) * ceiling)


def _useless(rows: dict[str, Any], name: str, text: str) -> Claim:
    return claim(f"{text} (here: below {USELESS:g} nats)", [mean_of(rows, name, "information")],
                 lambda value: f"{value:.3g} nats", lambda value: value < USELESS)
