"""Every op under torch.func and forward-mode differentiation: the right derivative, or a refusal; never a silent 0."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from vaefast import ops
from vaefast.errors import BackendError, VaefastError
from vaefast.ops import _registry

X, H = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(0)).double()

CALLS = {
    "error_sums": lambda t: ops.squared_error(X, t),
    "scaled_nll": lambda t: ops.gaussian_nll(X, t, -0.5),
    "error_sums, weighted": lambda t: ops.laplace_nll(X, t, torch.linspace(-1, 1, 5).double()),
    "reparam_kl": lambda t: torch.cat([r.flatten() for r in ops.reparam_kl(t, X, seed=3)]),
    "reparameterize": lambda t: ops.reparameterize(X, t, param="softplus", seed=3),
    "mmd2": lambda t: ops.mmd2(t, X, kernel="rbf", scales=(1.0, 2.0)),
    "mixture_log_density": lambda t: ops.mixture_log_density(t, X, H),
    "mixture_kl": lambda t: ops.mixture_kl(t, X),
    "mixture_moments": lambda t: torch.cat([r.flatten() for r in ops.mixture_moments(t, X)]),
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")


def test_every_op_has_a_call_here_and_a_derivative_of_its_own():
    names = {name.partition(",")[0] for name in CALLS}
    assert set(_registry._ops) <= names
    registered = {n.split("::")[1] for n in torch._C._dispatch_get_all_op_names() if n.startswith("vaefast::")}
    assert names <= registered
    for name in registered:
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"vaefast::{name}", "Autograd"), name


@calls
def test_reverse_mode_transforms_agree_with_autograd(call):
    right = torch.autograd.functional.jacobian(call, H)
    assert right.abs().sum() > 0
    close = {"rtol": 1e-6, "atol": 1e-9}
    torch.testing.assert_close(torch.func.jacrev(call)(H), right, **close)
    total = right.reshape(-1, *H.shape).sum(0)
    torch.testing.assert_close(torch.func.grad(lambda t: call(t).sum())(H), total, **close)
    value, pull = torch.func.vjp(call, H)
    torch.testing.assert_close(pull(torch.ones_like(value))[0], total, **close)
    both = torch.func.vmap(torch.func.grad(lambda t: call(t).sum()))(torch.stack([H, H]))
    torch.testing.assert_close(both, torch.stack([total, total]), **close)
    torch.testing.assert_close(torch.func.vmap(call)(torch.stack([H, H + 1]))[1], call(H + 1), **close)


@calls
def test_forward_mode_is_refused_in_words(call):
    def forward_level(t: Tensor) -> Tensor:
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(call(forward_ad.make_dual(t, torch.ones_like(t)))).tangent

    for transform in (lambda: torch.func.jvp(call, (H,), (H,)), lambda: torch.func.jacfwd(call)(H), lambda: forward_level(H),
                      lambda: torch.func.hessian(lambda t: call(t).sum())(H)):
        with pytest.raises(BackendError, match="vaefast::.* has no forward-mode derivative"):
            transform()
    with torch.no_grad(), pytest.raises(BackendError, match="forward-mode"):
        forward_level(H)
    # what does not depend on the tangents goes through
    value, tangent = torch.func.jvp(lambda t: t * call(H).sum(), (H,), (torch.ones_like(H),))
    torch.testing.assert_close(tangent, call(H).sum().expand_as(H))
    with forward_ad.dual_level():
        assert torch.equal(call(H), call(H))


@calls
def test_a_transform_of_a_gradient_is_no_silent_zero(call):
    def total(t: Tensor) -> Tensor:
        return call(t).sin().sum()

    inner = torch.func.grad(total)
    for second in (lambda: torch.func.grad(lambda t: inner(t).sum())(H), lambda: torch.func.jvp(inner, (H,), (H,)),
                   lambda: torch.func.jacrev(inner)(H), lambda: torch.func.grad(lambda t: torch.func.vjp(total, t)[1](
                       torch.ones((), dtype=t.dtype))[0].sum())(H)):
        with pytest.raises(VaefastError, match="differentiable once|no forward-mode derivative"):
            second()
    # through a gradient that does not depend on the outer variable, and from outside of one, what is left is right
    scale = torch.func.grad(lambda s: (s * inner(H)).sum())(torch.ones((), dtype=H.dtype))
    torch.testing.assert_close(scale, inner(H).sum())
    once = torch.func.grad(lambda t: torch.func.grad(lambda s: s * total(t))(torch.ones((), dtype=t.dtype)))(H)
    torch.testing.assert_close(once, inner(H))
    with torch.no_grad():
        assert not torch.func.grad(lambda t: total(t) + t.sum())(H).sub(inner(H) + 1).abs().max() > 1e-9


def test_the_second_derivative_of_a_draw_to_its_mean_is_right():
    mean = torch.func.hessian(lambda t: ops.reparameterize(t, X, seed=3).sin().sum())
    with pytest.raises(BackendError):
        mean(H)
    got = torch.func.jacrev(torch.func.grad(lambda t: ops.reparameterize(t, X, seed=3).sin().sum()))(H)
    right = -ops.reparameterize(H, X, seed=3).sin().flatten().diag().view(*H.shape, *H.shape)
    torch.testing.assert_close(got, right)
