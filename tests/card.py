"""A simulated GPU for machines without one: tensors whose device is "card", computed on the CPU.

`Disguised` refuses what a real GPU refuses: an operation on tensors of both devices (except 0-dimensional tensors and
indices), and draws on the GPU from a CPU generator. So a test finds code that leaves tensors on the wrong device. The
simulation has no autocast, and does not reproduce a GPU's speed or rounding.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map


class _Module(backend_registration._DummyBackendModule):
    """The device interface that PyTorch requires: autocast dtypes, fork state, seeds."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        """Do nothing: the device has no generator."""


backend_registration._setup_privateuseone_for_python_backend("card", backend_module=_Module())

aten = torch.ops.aten
MOVING = {aten._to_copy.default, aten.copy_.default}
INDEXING = {
    aten.index.Tensor: 1,
    aten.index_put_.default: 1,
    aten.index_put.default: 1,
}  # the argument that may be on another device


class OnCard(Tensor):
    """A CPU tensor that reports the device "card:0"."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "OnCard":
        made: OnCard = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=torch.device("card", 0),
            requires_grad=held.requires_grad,
        )
        made.held = held
        return made

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is Tensor.tolist:  # PyTorch does not support it for tensor subclasses
            return args[0].held.tolist()
        if function is Tensor.new_tensor:
            return OnCard(args[0].held.new_tensor(*args[1:], **(kwargs or {})))
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(function, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:
        return f"OnCard({self.held!r})"


class Disguised(TorchDispatchMode):
    """A mode in which `device="card"` works."""

    def __enter__(self) -> "Disguised":
        self.made = torch.tensor

        def tensor(data: Any, *, device: Any = None, **how: Any) -> Tensor:
            made = self.made(data, **how)  # torch.tensor is not dispatched, so it stays on the CPU
            return made if device is None else made.to(device)

        torch.tensor = tensor
        super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        torch.tensor = self.made
        super().__exit__(*raised)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(function, args, kwargs or {})


def computed(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation on the CPU and return its result on the device where it belongs."""
    values = tree_flatten((args, kwargs))[0]
    on_card = any(isinstance(value, OnCard) for value in values)
    wanted = kwargs.get("device")
    if function not in MOVING and on_card:
        elsewhere = INDEXING.get(function)
        asked = tree_flatten(([a for i, a in enumerate(args) if i != elsewhere], kwargs))[0]
        for value in asked:
            if isinstance(value, Tensor) and not isinstance(value, OnCard) and value.ndim:
                raise RuntimeError(f"{function}: Expected all tensors to be on the same device, found card and cpu")
    to_card = on_card if wanted is None else torch.device(wanted).type == "card"
    if function is aten.copy_.default:
        to_card = isinstance(args[0], OnCard)
    generator = kwargs.get("generator")
    if to_card and generator is not None:
        raise RuntimeError(f"{function}: Expected a 'card' device type for generator but found 'cpu'")
    if wanted is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    kwargs.pop("pin_memory", None)
    plain_args, plain_kwargs = tree_map(held, (args, kwargs))
    outcome = function(*plain_args, **plain_kwargs)
    changed = {
        id(held(value)): value for value in values if isinstance(value, OnCard)
    }  # an in-place operation returns the same tensor

    def back(value: Any) -> Any:
        if not to_card or not isinstance(value, Tensor):
            return value
        return changed.get(id(value)) if id(value) in changed else OnCard(value)

    return tree_map(back, outcome)


def held(value: Any) -> Any:
    return value.held if isinstance(value, OnCard) else value
