"""Architectures as `nn.Module`s: tensors in, tensors out; no losses, no sampling.

An encoder returns `(mu, raw)` and says in its attribute `scale_param` how `raw` gives the posterior's standard
deviation s ("logvar", "logstd" or "softplus": s = 1e-6 + softplus(raw)). A decoder says in its attribute `output`
what it returns: "logits" (the image is their sigmoid), "image" or "linear".
"""

from vaefast.nets.global_batch import use_global_batch
from vaefast.nets.infogan import InfoGANDecoder, InfoGANEncoder
from vaefast.nets.layers import BatchNorm
from vaefast.nets.second_stage import SecondStageDecoder, SecondStageEncoder

__all__ = ["BatchNorm", "InfoGANDecoder", "InfoGANEncoder", "SecondStageDecoder", "SecondStageEncoder", "use_global_batch"]

NETS = {"infogan": (InfoGANEncoder, InfoGANDecoder)}
"""Encoder and decoder by name; each is built from (image_shape, latent_dim)."""
