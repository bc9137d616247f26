"""`vaefast.VAE`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from vaefast import models
from vaefast.api.adversary import AdversaryName, image_adversary
from vaefast.api.images import OneStage, networks
from vaefast.api.perceptual import perceptual_term
from vaefast.api.shapes import refuse_what_images_have, settled_nets, standardiser_for
from vaefast.errors import ArgumentError
from vaefast.models.noise_level import Gamma
from vaefast.models.vae import Likelihood
from vaefast.models.weighted_term import TermWeight
from vaefast.nets import FLOWS, Flow, NetsName
from vaefast.nets.flows import FlowName
from vaefast.nets.shapes import CodeShape, checked_latents, shape_of_data, whole_number
from vaefast.training.settings import StageSettings


class VAE(OneStage):
    """A variational autoencoder of images, or of data of any shape: `fit`, `sample`, `encode`, `decode`, `reconstruct`, `save`.

    >>> model = vaefast.VAE(image_shape=(1, 28, 28), latent_dim=64, gamma=1.0)
    >>> history = model.fit(images, epochs=400, out="runs/mnist")
    >>> x = model.sample(64)                     # float [64, 1, 28, 28] in [0, 1]
    >>> model = vaefast.VAE(data_shape=(30,), latent_dim=5)    # vectors, in their own units

    Args:
        image_shape: (channels, height, width), of images.
        latent_dim: dimensions of the code z, or (c, h, w), maps of codes (see `vaefast.TwoStageVAE`).
        data_shape: instead of it, the shape of an example that is no image: (D,), (C, L), (C, D, H, W). Its values are real
            numbers of any scale (uint8 counts as [0, 1]), and the decoder's output is linear.
        standardise: data of `data_shape`: take their mean and deviation from the data of the first `fit`, one for each dimension
            of vectors and for each channel of others, and undo it in what is decoded. Losses and gamma are then in standardised
            units. None is true; images have none.
        nets: "infogan", the neutral networks of Dai & Wipf (default for images), or another of `vaefast.nets.NETS`; "residual"
            for data of `data_shape`; or give both `encoder` and `decoder`, as for `vaefast.TwoStageVAE`.
        gamma: the decoder's noise: "learned", "optimal" or a number (see `vaefast.models.VAE`).
        gamma_init: first value of a learned gamma.
        likelihood: "gaussian", "bernoulli" (cross-entropy) or "squared" (the squared error alone).
        beta: weight of the KL.
        flow: "planar", "radial" or "iaf": z is what this normalizing flow makes of a draw of the encoder's Gaussian
            (see `vaefast.nets.flows`); None for none.
        flow_depth: flows in a row.
        adversary: "patchgan", or a discriminator module (images in [-1, 1] -> logits), that the reconstructions have to pass; a
            second player beside the VAE (see `vaefast.models.ImageAdversary`). None for none.
        adversarial_weight: of its term in the loss: a number, or "adaptive": 0.8 of the reconstruction's gradient at the
            decoder's last layer.
        perceptual: features in which reconstructions have to be near their images, too: "exemplar" or "classifier", networks that
            `fit` learns from the images (and their labels) first, a file of torchvision's vgg16 weights (and, after a comma, one
            of LPIPS's), or a module, images -> features (see `vaefast.models.PerceptualLoss`). None for none.
        perceptual_weight: of that term: "adaptive", as much gradient as the reconstruction's, or a number.
        classes: number of classes of the data's labels, from 0 on, if the model is conditioned on them (Sohn et al. 2015): `fit`
            takes them with the data (or as condition=), `sample(n, condition=7)` draws of one, and encode, decode and the others
            take `condition`. With networks of your own, encoder(x, labels) and decoder(z, labels), such as
            `vaefast.nets.ConditionalEncoder` makes.
        condition_dim: d, instead, if it is conditioned on vectors of real numbers: `fit(data, condition=vectors)`, [N, d].
        net_options: of the named networks, encoder and decoder alike, such as width=32 of "gamix".

    Raises:
        ArgumentError: a value that cannot work.

    `model.first` is the plain module, a `vaefast.models.VAE`. Source: Dai & Wipf 2019, section 5 (the baselines of Table 1).
    """

    kind = "vae"
    first: models.VAE
    defaults = (StageSettings(epochs=400),)

    def __init__(self, image_shape: tuple[int, int, int] | None = None, latent_dim: CodeShape = 64, *,
                 data_shape: tuple[int, ...] | None = None, standardise: bool | None = None, nets: NetsName | None = None,
                 encoder: nn.Module | None = None, decoder: nn.Module | None = None, gamma: Gamma = "learned",
                 gamma_init: float = 1.0, likelihood: Likelihood = "gaussian", beta: float = 1.0, flow: FlowName | None = None,
                 flow_depth: int = 10, adversary: AdversaryName | nn.Module | None = None, adversarial_weight: TermWeight = 100.0,
                 perceptual: str | nn.Module | None = None, perceptual_weight: TermWeight = "adaptive",
                 classes: int | None = None, condition_dim: int | None = None,
                 net_options: Mapping[str, Any] | None = None) -> None:
        shape, (k, maps) = shape_of_data(image_shape, data_shape), checked_latents(latent_dim)
        settled = settled_nets(nets, shape, encoder)
        refuse_what_images_have(shape, adversary=(adversary, None), perceptual=(perceptual, None),
                                likelihood=(likelihood, "gaussian", "squared"))
        encoder, decoder = networks(nets, encoder, decoder, shape, maps or k, options=net_options, classes=classes,
                                    condition_dim=condition_dim)
        flow_depth = whole_number("flow_depth", flow_depth)
        if flow is not None and flow not in FLOWS:
            raise ArgumentError(f"flow is {flow!r}; expected one of {', '.join(FLOWS)}, or None.")
        judge = image_adversary(adversary, shape[0])
        super().__init__(models.VAE(encoder, decoder, data_shape=shape, latent_dim=k, gamma=gamma,
                                    likelihood=likelihood, gamma_init=gamma_init, beta=beta,
                                    flow=None if flow is None else Flow(flow, flow_depth, k),
                                    adversary=judge, adversarial_weight=adversarial_weight,
                                    perceptual=perceptual_term(perceptual, perceptual_weight),
                                    standardiser=standardiser_for(shape, standardise), classes=classes,
                                    condition_dim=condition_dim))
        self._settled = settled
