"""What Dai & Wipf's theory predicts, measured: figures 1a, 1b and 2, table 3, and the dimension of known manifolds; and Zhao,
Song & Ermon's propositions on discrete models."""

from vaefast.experiments.theory.dimension import full_dimension, manifolds
from vaefast.experiments.theory.eigenvalues import fig1b
from vaefast.experiments.theory.gamma import fig1a
from vaefast.experiments.theory.latent_distance import table3
from vaefast.experiments.theory.propositions import propositions
from vaefast.experiments.theory.spectra import fig2

__all__ = ["fig1a", "fig1b", "fig2", "full_dimension", "manifolds", "propositions", "table3"]
