"""The face that scikit-learn knows: models as transformers, in its pipelines, searches and clones. It need not be installed."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch

from vaefast.errors import ArgumentError
from vaefast.models.condition import is_conditional
from vaefast.models.doors import inside
from vaefast.models.exploration import ROWS, in_batches, mean_codes
from vaefast.models.latents import plain_array
from vaefast.training.validation import PREFIX, HeldOut


class Transformer:
    """`transform`, `inverse_transform`, `score`, `get_params` and `clone` of a model that codes examples.

    Settings of `fit` go through a pipeline as scikit-learn has it: `pipeline.fit(x, vae__epochs=5)`.
    """

    _frames: bool = False

    @property
    def _model(self) -> Any:
        """What this is mixed into: a model that has the rest."""
        return self

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments that the model was built with, by name."""
        arguments: dict[str, Any] = self._model._arguments
        return dict(arguments)

    def set_params(self, **params: Any) -> Transformer:
        """Build the model anew with these arguments in the place of its own; what it has learned is gone.

        Raises:
            ArgumentError: it has no such argument.
        """
        known = self.get_params()
        for name in params:
            if name not in known:
                raise ArgumentError(f"a {type(self).__name__} has no argument {name!r}; it has {', '.join(known)}.")
        if params:
            self._model.__init__(**{**known, **params})
        return self

    def transform(self, X: Any, condition: Any = None) -> Any:
        """Mean codes of examples, float32 [N, k]: an array, or a data frame after `set_output(transform="pandas")`. A model whose
        networks are conditioned has to be told the `condition`, one for all or one an example."""
        codes = mean_codes(self._model, _rows(X), condition).float().cpu().numpy()
        if not self._frames:
            return codes
        import pandas

        return pandas.DataFrame(codes, columns=self.get_feature_names_out(), index=getattr(X, "index", None))

    def fit_transform(self, X: Any, y: Any = None, **settings: Any) -> Any:
        """`fit`, then `transform`. `y` is what a model that is conditioned is told of the examples, and ignored by any other."""
        self._model.fit(X, y, **settings)
        coder = getattr(self._model, "first", None)  # what codes, where that is told anything
        return self.transform(X, settings.get("condition", y) if is_conditional(coder) else None)

    def inverse_transform(self, X: Any, condition: Any = None) -> np.ndarray:
        """Examples of codes [N, k], an array; of a `condition`, as of `transform`."""
        codes = _rows(X)
        with torch.no_grad():
            parts = [self._model.decode(part, **given) for part, given in in_batches(self._model, codes, condition)]
        return np.concatenate([part.cpu().numpy() for part in parts])

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log density of examples, or its lower bound that the model is trained on (the ELBO), in nats; of a model without
        one, minus its loss. Higher is better. `y` is what a model that is conditioned is told of them."""
        if y is not None and is_conditional(self._model):
            X = self._model._labelled(X, y)
        data, _ = self._model._accept(X)
        _, module, make = self._model._parts(data, self._model.device)[0]
        was = module.training
        with torch.no_grad(), torch.random.fork_rng([]), inside():
            terms = HeldOut(module.eval(), make, ROWS, self._model.device, seed=0)()
        module.train(was)
        return terms.get(f"{PREFIX}elbo", -terms[f"{PREFIX}loss"])

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns of `transform`, such as "vae0"."""
        return np.array([f"{type(self).__name__.lower()}{i}" for i in range(self._model.latent_dim)], dtype=object)

    def set_output(self, *, transform: Literal["default", "pandas"] | None = None) -> Transformer:
        """Whether `transform` gives arrays ("default") or data frames ("pandas").

        Raises:
            ArgumentError: anything else.
        """
        if transform not in (None, "default", "pandas"):
            raise ArgumentError(f"transform is {transform!r}; expected 'default' or 'pandas'.")
        self._frames = self._frames if transform is None else transform == "pandas"
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """A model has weights from the start: whether they are good is not asked."""
        return True

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(estimator_type=None, target_tags=TargetTags(required=False), transformer_tags=TransformerTags(),
                    input_tags=InputTags(two_d_array=False), non_deterministic=True)


def _rows(X: Any) -> Any:
    """Rows of an array, a tensor or a frame."""
    rows = plain_array(X)
    if not hasattr(rows, "__getitem__") or not hasattr(rows, "__len__"):
        raise ArgumentError(f"X is a {type(X).__name__}; expected a tensor or array of examples.")
    return rows
