"""One training loop: devices, checkpoints, a tidy history, several processes."""

from ssl_theory.training.checkpoints import CheckpointError
from ssl_theory.training.devices import resolve_device
from ssl_theory.training.loop import GRAPH_MODES, Precision, fit
from ssl_theory.training.nonfinite import NonFiniteError

__all__ = ["GRAPH_MODES", "CheckpointError", "NonFiniteError", "Precision", "fit", "resolve_device"]
