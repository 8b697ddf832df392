"""A stand-in for a CUDA device, on machines without one.

Inside ``phantom_cuda()`` tensors can be moved to ``"cuda"``. They say that they are there, and
compute on the CPU. What fails on a real device fails here:

* tensors of both devices in one operation, but for CPU tensors without dimensions;
* an index on the other device;
* ``.numpy()`` of a tensor on the device.

What costs time on a real device is counted: operations, each of which launches at least one kernel
(views launch none), and synchronisations, where the host waits for the device: a number is read, a
size depends on values, or data is copied from one to the other.

A :class:`TorchFunctionMode` sees what the code asks for, and tells the devices apart by the class
of a tensor. A :class:`TorchDispatchMode` below it sees the operations that come of it, those of the
backward pass too.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

CUDA = torch.device("cuda", 0)
GB = 1 << 30

WITHOUT_KERNEL = {
    *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_"),
    *("_unsafe_view", "lift_fresh", "set_", "is_same_size", "_local_scalar_dense"),
}
SYNCHRONISING = {
    "_local_scalar_dense": 1,
    "bincount": 2,
    "equal": 1,
    "isin": 2,
    "masked_select": 1,
    "nonzero": 1,
    "_unique2": 1,
    "unique_consecutive": 1,
    "unique_dim": 1,
}
INDEXING = {"index", "index_put", "index_put_"}


class DeviceError(RuntimeError):
    """What a real device would refuse."""


class CudaTensor(Tensor):
    """A tensor on the phantom device."""


class Counts:
    """What was asked of the device, by operation and by the line of the package that asked."""

    def __init__(self) -> None:
        self.launched: Counter[tuple[str, str]] = Counter()
        self.synchronised: Counter[tuple[str, str]] = Counter()

    @property
    def launches(self) -> int:
        """Operations that launch a kernel."""
        return self.launched.total()

    @property
    def syncs(self) -> int:
        """Times that the host waits for the device."""
        return self.synchronised.total()

    def reset(self) -> None:
        """Back to 0."""
        self.launched.clear()
        self.synchronised.clear()

    def report(self, top: int = 20) -> str:
        """The lines that ask most."""
        parts = []
        for title, counter in (("launches", self.launched), ("syncs", self.synchronised)):
            by_line: Counter[str] = Counter()
            for (line, _), count in counter.items():
                by_line[line] += count
            parts.append(f"{title}: {counter.total()}")
            parts += [f"  {count:6d} {line}" for line, count in by_line.most_common(top)]
        return "\n".join(parts)


@contextmanager
def phantom_cuda() -> Iterator[Counts]:
    """Makes ``"cuda"`` a device; yields the counts of what is asked of it."""
    counts = Counts()
    memory = {
        "mem_get_info": lambda device=None: (70 * GB, 80 * GB),
        "memory_reserved": lambda device=None: 0,
        "memory_allocated": lambda device=None: 0,
        "max_memory_allocated": lambda device=None: GB,
        "is_available": lambda: True,
    }
    operations = _Operations(counts)
    with patch.multiple(torch.cuda, **memory), operations, _Devices(counts, operations):
        yield counts


class _Operations(TorchDispatchMode):
    """Counts operations, while they are the phantom device's."""

    def __init__(self, counts: Counts):
        super().__init__()
        self.counts = counts
        self.of_device = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.of_device:
            name = func._schema.name.removeprefix("aten::")
            if not (func.is_view or name in WITHOUT_KERNEL):
                self.counts.launched[_line(), name] += 1
            if waits := _waits(name, func._overloadname, args, kwargs):
                self.counts.synchronised[_line(), name] += waits
        return func(*args, **kwargs)


def _waits(name: str, overload: str, args: Any, kwargs: dict[str, Any]) -> int:
    """How often the host waits for the device in an operation."""
    if name in INDEXING:
        masks = [x for x in args[1] if x is not None and x.dtype in (torch.bool, torch.uint8)]
        # Writing one number where a mask is set fills in place, and needs no count.
        is_fill = name != "index" and args[2].numel() == 1
        return 0 if is_fill else len(masks)
    if name == "repeat_interleave":
        return int(kwargs.get("output_size") is None)
    return SYNCHRONISING.get(name, 0)


class _Devices(TorchFunctionMode):
    """Keeps the devices apart."""

    def __init__(self, counts: Counts, operations: _Operations):
        super().__init__()
        self.counts = counts
        self.operations = operations

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        with torch._C.DisableTorchFunctionSubclass():
            special = SPECIAL.get(func)
            if special is not None:
                return special(self, func, args, kwargs)
            return self.call(func, args, kwargs)

    def call(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Any function: on the device of its tensors, or of its argument ``device``."""
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        on_device = any(isinstance(x, CudaTensor) for x in tensors)
        if on_device and any(x.ndim and not isinstance(x, CudaTensor) for x in tensors):
            raise DeviceError(f"{_name(func)} of tensors on cuda and on the CPU, at {_line()}")
        target = kwargs.get("device")
        if target is not None:
            if on_device and not _is_cuda(target):
                raise DeviceError(f"{_name(func)} from cuda to the CPU, at {_line()}")
            on_device = _is_cuda(target)
            kwargs["device"] = torch.device("cpu")
        return self.run(on_device, func, args, kwargs)

    def run(self, on_device: bool, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Runs on the given device, and leaves the results there."""
        if not on_device:
            return func(*args, **kwargs)
        before, self.operations.of_device = self.operations.of_device, True
        try:
            result = func(*args, **kwargs)
        finally:
            self.operations.of_device = before
        return tree_map_only(Tensor, on_cuda, result)

    def wait(self, func: Any) -> None:
        """Counts a synchronisation."""
        self.counts.synchronised[_line(), _name(func)] += 1


def on_cuda(tensor: Tensor) -> Tensor:
    """The same tensor on the phantom device, sharing memory."""
    return tensor if isinstance(tensor, CudaTensor) else tensor.as_subclass(CudaTensor)


def _to_cpu(tensor: Tensor) -> Tensor:
    return tensor.as_subclass(Tensor).clone() if isinstance(tensor, CudaTensor) else tensor


def _is_cuda(device: Any) -> bool:
    return torch.device(device).type == "cuda"


def _name(func: Any) -> str:
    return getattr(func, "__name__", str(func))


def _line() -> str:
    """The line of the package, or else of the tests, that is at work."""
    outer = ""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if "/shapeopt/" in file:
            return f"{file.rpartition('/shapeopt/')[2]}:{frame.f_lineno}"
        if "/tests/" in file and not file.endswith("phantom.py"):
            outer = outer or f"{file.rpartition('/tests/')[2]}:{frame.f_lineno}"
        frame = frame.f_back
    return outer


def _device_of(mode: _Devices, func: Any, args: Any, kwargs: Any) -> Any:
    return CUDA if isinstance(args[0], CudaTensor) else func(*args)


def _is_on_cuda(mode: _Devices, func: Any, args: Any, kwargs: Any) -> bool:
    return isinstance(args[0], CudaTensor)


def _as_numpy(mode: _Devices, func: Any, args: Any, kwargs: Any) -> Any:
    if isinstance(args[0], CudaTensor):
        raise DeviceError(f"a tensor on cuda made a numpy array, at {_line()}")
    return func(*args, **kwargs)


def _moved(mode: _Devices, func: Any, args: Any, kwargs: Any) -> Tensor:
    """``to``, ``cpu`` and ``cuda``: the one way from device to device."""
    tensor, *rest = args
    target: Any = kwargs.get("device") if func is Tensor.to else _name(func)
    dtype = kwargs.get("dtype")
    for wish in rest:
        if isinstance(wish, Tensor):
            target, dtype = (CUDA if isinstance(wish, CudaTensor) else "cpu"), wish.dtype
        elif isinstance(wish, torch.dtype):
            dtype = wish
        elif isinstance(wish, str | torch.device):
            target = wish
    is_there = isinstance(tensor, CudaTensor)
    if dtype is not None:
        tensor = mode.run(is_there, Tensor.to, (tensor, dtype), {})
    if target is None or _is_cuda(target) == is_there:
        return tensor
    mode.wait(func)
    return on_cuda(tensor) if _is_cuda(target) else _to_cpu(tensor)


def _from_host(mode: _Devices, func: Any, args: Any, kwargs: Any) -> Tensor:
    """A tensor of Python numbers, or of what is a tensor already."""
    if isinstance(args[0], Tensor):
        where = {k: v for k, v in kwargs.items() if v is not None}
        return _moved(mode, Tensor.to, (args[0],), where) if where else args[0]
    target = kwargs.pop("device", None)
    result = func(*args, **kwargs)
    if target is None or not _is_cuda(target):
        return result
    mode.wait(func)
    return on_cuda(result)


def _new_from_host(mode: _Devices, func: Any, args: Any, kwargs: Any) -> Tensor:
    if isinstance(args[0], CudaTensor):
        mode.wait(func)
    return mode.call(func, args, kwargs)


def _as_list(mode: _Devices, func: Any, args: Any, kwargs: Any) -> Any:
    if isinstance(args[0], CudaTensor):
        mode.wait(func)
    return func(*args)


def _copied(mode: _Devices, func: Any, args: Any, kwargs: Any) -> Tensor:
    """``copy_``, which may go from one device to the other."""
    if isinstance(args[0], CudaTensor) != isinstance(args[1], CudaTensor):
        mode.wait(func)
    return mode.run(isinstance(args[0], CudaTensor), func, args, kwargs)


def _indexed(mode: _Devices, func: Any, args: Any, kwargs: Any) -> Any:
    """An index that is a list goes to the device first."""
    parts = args[1] if isinstance(args[1], tuple) else (args[1],)
    if isinstance(args[0], CudaTensor) and any(isinstance(part, list) for part in parts):
        mode.wait(func)
    return mode.call(func, args, kwargs)


def _data_set(mode: _Devices, func: Any, args: Any, kwargs: Any) -> None:
    """A parameter follows its data to the device, as it does in ``module.to``."""
    tensor, data = args
    func(tensor, data)
    if isinstance(data, CudaTensor) and not isinstance(tensor, CudaTensor):
        if isinstance(tensor, torch.nn.Parameter):
            tensor._is_param = True
        tensor.__class__ = CudaTensor


def _plain(mode: _Devices, func: Any, args: Any, kwargs: Any) -> Any:
    return func(*args, **kwargs)


SPECIAL: dict[Any, Callable[..., Any]] = {
    Tensor.device.__get__: _device_of,
    Tensor.is_cuda.__get__: _is_on_cuda,
    Tensor.data.__set__: _data_set,
    Tensor.grad.__set__: _plain,
    Tensor.numpy: _as_numpy,
    Tensor.__array__: _as_numpy,
    Tensor.to: _moved,
    Tensor.cpu: _moved,
    Tensor.cuda: _moved,
    Tensor.tolist: _as_list,
    Tensor.new_tensor: _new_from_host,
    Tensor.copy_: _copied,
    Tensor.__getitem__: _indexed,
    Tensor.__setitem__: _indexed,
    torch._has_compatible_shallow_copy_type: _plain,
    torch.tensor: _from_host,
    torch.as_tensor: _from_host,
}
