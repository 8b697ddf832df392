"""What is done when a network that is run on forms calls a function of torch."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from shapeopt.errors import InputError
from shapeopt.networks import folds
from shapeopt.networks.forms import Form, apply_affine, apply_linear, forms_in
from shapeopt.networks.outer import OUTER, Outer


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


AFFINE = _names(
    """
    add radd sub rsub neg negative positive sum mean cumsum diff cat concat concatenate stack
    hstack vstack dstack getitem narrow select slice index_select gather take take_along_dim
    reshape view view_as reshape_as flatten unflatten ravel squeeze unsqueeze permute transpose
    swapaxes swapdims movedim moveaxis t expand expand_as repeat tile repeat_interleave
    broadcast_to split chunk unbind tensor_split flip roll rot90 contiguous clone detach cpu cuda
    pad constant_pad_nd avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
    interpolate pixel_shuffle unfold fold
    """
)
"""Functions that are affine in all of their arguments at once."""

DTYPES = _names("to type type_as float double half bfloat16")
"""Functions that change the dtype or the device, which coefficients keep."""

SHAPES = _names(
    """
    getitem select squeeze unsqueeze view reshape flatten contiguous clone
    """
)
"""Functions that only move numbers."""

PRODUCTS = _names(
    """
    mul rmul multiply matmul rmatmul mm mv bmm addmm addmv baddbmm dot inner outer einsum
    tensordot linear bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d truediv div
    divide true_divide lerp addcmul
    """
)
"""Functions that are affine in one argument while the others are numbers."""

SUMS = _names("add radd sub rsub")
"""Functions of two arguments, of which one may be numbers that are added to the other."""

ABOUT = _names(
    """
    dim ndimension numel is_floating_point is_complex get_device is_contiguous len hash size stride
    zeros_like ones_like empty_like full_like rand_like randn_like new_zeros new_ones new_full
    new_empty new_tensor
    """
)
"""Functions that look at the shape and dtype alone."""


IN_PLACE = _names("__iadd__ __isub__ __imul__ __itruediv__ __idiv__")


class Reduced(NamedTuple):
    """As torch gives maxima along a dimension; which one is largest is not known."""

    values: Tensor
    indices: None


def apply(function: Callable, args: Sequence, kwargs: dict) -> Any:
    """The function on arguments with forms among them.

    Raises:
        InputError: if it is not known to be piecewise affine.
    """
    called = function.__name__
    if called == "__get__":
        return _attribute(function, args[0])
    name = called.strip("_").removesuffix("_")
    args, kwargs = tree_map(_in_float64, (tuple(args), kwargs))
    if name in DTYPES and isinstance(args[0], Form):
        return args[0]
    in_place = (called.endswith("_") and not called.endswith("__")) or called in IN_PLACE
    in_place = bool(kwargs.pop("inplace", in_place))
    name = name[1:] if called in IN_PLACE else name
    result = _result(name, function, args, kwargs)
    if in_place and isinstance(args[0], Form) and isinstance(result, Form):
        args[0].become(result)
        return args[0]
    return result


def _attribute(getter: Callable, form: Form) -> Any:
    """Of a tensor: its shape and what else is known of it without numbers."""
    name = getattr(getter, "__self__", getter).__name__
    if name == "T":
        return form.t() if form.ndim == 2 else form.permute(*reversed(range(form.ndim)))
    if name == "mT":
        return form.transpose(-1, -2)
    if name == "data":
        return form
    with torch._C.DisableTorchFunctionSubclass():
        return getter(form)


def _in_float64(value: Any) -> Any:
    is_number = isinstance(value, Tensor) and not isinstance(value, Form)
    return value.double() if is_number and value.is_floating_point() else value


def _result(name: str, function: Callable, args: Sequence, kwargs: dict) -> Any:
    if name in ABOUT:
        return function(*(a.constant if isinstance(a, Form) else a for a in args), **kwargs)
    if any(isinstance(form, Outer) for form in forms_in((list(args), kwargs))):
        return _of_outer(name, function, args, kwargs)
    if name in OUTER:
        return Outer.of(name, args[0])
    if name in FOLDS:
        return FOLDS[name](*args, **kwargs)
    if name in AFFINE:
        without_added = None
        if name in SUMS and len(args) == 2 and not kwargs:
            without_added = [arg if isinstance(arg, Form) else 0 * arg for arg in args]
        return apply_affine(_out_of_place(function), args, kwargs, without_added)
    if name in PRODUCTS:
        forms = forms_in((args, kwargs))
        if len(forms) > 1 or ("div" in name and not isinstance(args[0], Form)):
            raise InputError(f"{name} of values that both depend on the inputs is not affine")
        if name == "linear" and args and isinstance(args[0], Form):
            return apply_linear(*args, **kwargs)
        return apply_affine(_out_of_place(function), args, kwargs)
    if name == "bool":
        raise InputError(
            "the network decides by its values what to compute (an if on a tensor); that is not "
            "known to be piecewise affine"
        )
    raise InputError(
        f"{name} is not known to be piecewise affine; shapeopt.convert replaces smooth activations"
    )


def _out_of_place(function: Callable) -> Callable:
    """The function that leaves its first argument alone."""
    called = function.__name__
    if called in IN_PLACE:
        return getattr(Tensor, f"__{called[3:]}")
    if called.endswith("_") and not called.endswith("__"):
        return getattr(Tensor, called[:-1])
    return function


def _of_outer(name: str, function: Callable, args: Sequence, kwargs: dict) -> Outer:
    """What may still be done after the last activation."""
    outer, others = args[0], [*args[1:], *kwargs.values()]
    if isinstance(outer, Outer) and name in OUTER:
        return Outer.of(name, outer)
    if isinstance(outer, Outer) and name in SHAPES:
        return outer.with_form(apply_affine(function, args, kwargs))
    if isinstance(outer, Outer) and name in ("add", "sub") and len(others) == 1:
        number = others[0]
        if isinstance(number, int | float) or (isinstance(number, Tensor) and number.numel() == 1):
            return outer.with_form(outer, float(number) if name == "add" else -float(number))
    bent = next(form for form in forms_in((list(args), kwargs)) if isinstance(form, Outer))
    raise InputError(
        f"{name} follows {bent.steps[-1][0]}, which is not piecewise affine; it may only be the "
        "very last activation. Train with a ReLU in its place, or see shapeopt.convert"
    )


def _leaky_relu(z: Tensor, negative_slope: float = 0.01) -> Tensor:
    return folds.leaky_relu(z, negative_slope)


def _prelu(z: Tensor, weight: Tensor) -> Tensor:
    return folds.prelu(z, weight)


def _softshrink(z: Tensor, lambd: float = 0.5) -> Tensor:
    return folds.softshrink(z, lambd)


def _maximum(p: Tensor, other: Tensor) -> Tensor:
    return folds.maximum(p, other)


def _minimum(p: Tensor, other: Tensor) -> Tensor:
    return folds.minimum(p, other)


def _relu6(z: Tensor) -> Tensor:
    return folds.clamp(z, 0.0, 6.0)


def _hardtanh(z: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    return folds.clamp(z, min_val, max_val)


def _clamp(z: Tensor, min: Any = None, max: Any = None) -> Tensor:
    return folds.clamp(z, min, max)


def _clamp_min(z: Tensor, min: Any) -> Tensor:
    return folds.clamp(z, min, None)


def _clamp_max(z: Tensor, max: Any) -> Tensor:
    return folds.clamp(z, None, max)


def _dropout(z: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    if training and p > 0:
        raise InputError("dropout is active; call network.eval() first")
    return z


def _batch_norm(
    z: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if training or running_mean is None or running_var is None:
        raise InputError("batch norm depends on the batch; call network.eval() first")
    factor = (running_var + eps).rsqrt() * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - running_mean * factor
    view = [1, -1] + [1] * (z.ndim - 2)
    return z * factor.view(view) + shift.view(view)


def _extreme(of_two: Callable, z: Tensor, args: Sequence, kwargs: dict) -> Any:
    """torch.max and torch.min in their three ways: of two, along a dimension, of all."""
    other = args[0] if args else kwargs.get("other")
    if isinstance(other, Tensor):
        return of_two(z, other)
    dim = args[0] if args else kwargs.get("dim")
    keepdim = bool(args[1] if len(args) > 1 else kwargs.get("keepdim", False))
    result = folds.reduced(z, of_two, dim, keepdim)
    return result if dim is None else Reduced(result, None)


def _max(z: Tensor, *args: Any, **kwargs: Any) -> Any:
    return _extreme(folds.maximum, z, args, kwargs)


def _min(z: Tensor, *args: Any, **kwargs: Any) -> Any:
    return _extreme(folds.minimum, z, args, kwargs)


def _amax(z: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return folds.reduced(z, folds.maximum, None if dim in ((), None) else dim, keepdim)


def _amin(z: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return folds.reduced(z, folds.minimum, None if dim in ((), None) else dim, keepdim)


def _max_pool(dimension: int) -> Callable:
    def pool(
        z: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Tensor:
        if ceil_mode or return_indices or set(folds._tuple(dilation, dimension)) != {1}:
            raise InputError("max pooling with dilation, ceil_mode or indices is not supported")
        return folds.max_pool(z, kernel_size, stride, padding, dimension)

    return pool


FOLDS: dict[str, Callable] = {
    "relu": folds.relu,
    "relu6": _relu6,
    "leaky_relu": _leaky_relu,
    "prelu": _prelu,
    "abs": folds.absolute,
    "absolute": folds.absolute,
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": _clamp_min,
    "clamp_max": _clamp_max,
    "hardtanh": _hardtanh,
    "hardsigmoid": folds.hardsigmoid,
    "softshrink": _softshrink,
    "maximum": _maximum,
    "minimum": _minimum,
    "max": _max,
    "min": _min,
    "amax": _amax,
    "amin": _amin,
    "max_pool1d": _max_pool(1),
    "max_pool2d": _max_pool(2),
    "dropout": _dropout,
    "feature_dropout": _dropout,
    "alpha_dropout": _dropout,
    "batch_norm": _batch_norm,
}
"""Functions that fold, by name, and those that are affine in eval mode alone."""
