"""The error of a training step whose loss or gradient is NaN or infinite."""

from pathlib import Path

from torch import Tensor

from nelbo.errors import NonFiniteError, setting
from nelbo.training.state import TrainState


def non_finite(state: TrainState, weighted: Tensor, t: Tensor | None, path: Path) -> NonFiniteError:
    """Return the error that names the step, t (if the objective draws one) and the tensor.

    Args:
        state: before the step, with the gradients of the step.
        weighted: (N,) losses of the batch.
        t: (N,) time steps of the batch, or None.
        path: the file of the last good state.
    """
    bad = ~weighted.isfinite()
    if bool(bad.any()):
        where = "" if t is None else f", at t = {', '.join(str(int(place)) for place in t[bad][:4])},"
        what = f"the loss of {int(bad.sum())} of {len(bad)} examples{where}"
    else:
        named = state.network.named_parameters()
        names = [name for name, p in named if p.grad is not None and not bool(p.grad.isfinite().all())]
        what = f"the gradient of {names[0] if names else 'the network'}"
    return NonFiniteError(
        f"{what} is not finite at step {state.step + 1}; the last good state is in {path}. Train into another folder "
        f"with a lower {setting('training.learning_rate')}, a larger {setting('training.warmup')}, or "
        f"{setting('training.precision', 'fp32')}."
    )
