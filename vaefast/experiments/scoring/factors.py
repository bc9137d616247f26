"""How far single code dimensions stand for single factors, of a data set whose factors are known."""

from __future__ import annotations

from torch import Tensor

from vaefast import api, data, metrics
from vaefast.experiments.scoring.codes import aggregate


def factor_scores(model: api.ImageAutoencoder, images: data.ImageSet, seed: int) -> dict[str, float]:
    """MIG, SAP and DCI of the mean codes of images, by the factors that vary among them; nothing where none are known."""
    if images.factors is None:
        return {}
    factors = _varying(images.factors)
    if model.latent_dim < 2 or not factors.shape[1] or len(factors) < 10:
        return {}
    codes = aggregate(model, images, seed).mean
    dci = metrics.dci(codes, factors, seed=seed)
    return {"mig": metrics.mutual_information_gap(codes, factors),
            "sap": metrics.separated_attribute_predictability(codes, factors),
            **{f"dci_{name}": value for name, value in dci._asdict().items()}}


def _varying(factors: Tensor) -> Tensor:
    return factors[:, (factors != factors[0]).any(0)]
