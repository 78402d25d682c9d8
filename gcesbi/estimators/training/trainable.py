"""What the training loop knows of a network: it is shown batches, states a loss, and says what it is."""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from gcesbi.networks.defaults import own_defaults

__all__ = ["Batch", "Trainable"]


class Batch(NamedTuple):
    """What a network sees, (n, ...) of any number type, such as counts; and what it is to say of it, (n, ...)."""

    inputs: Tensor
    targets: Tensor


class _BuiltByOwnDefaults(type):
    """Networks have the same tensors whatever torch's defaults are while they are built."""

    def __call__(cls, *args: Any, **settings: Any) -> Any:
        with own_defaults():
            return super().__call__(*args, **settings)


class Trainable(nn.Module, metaclass=_BuiltByOwnDefaults):
    """A network of two parts, an embedding of what it sees and a head that answers.

    Attributes
    ----------
    kind : str
    embedding : module
        It stays as it is where the head is trained alone, and is needed there only.
    """

    kind: ClassVar[str]
    embedding: nn.Module

    @abstractmethod
    def batch_of(self, maps: Any) -> Batch:
        """What the network sees of simulated maps, and its labels of them."""

    @abstractmethod
    def prepare(self, inputs: Tensor, targets: Tensor) -> None:
        """Before the first training: standardise the input, and let the head start from the labels' distribution."""

    @abstractmethod
    def loss(self, output: Any, targets: Tensor) -> Tensor:
        """Mean loss of the head's output on labels; may draw from torch's global generator."""

    def head_loss(self, output: Any, targets: Tensor) -> Tensor:
        """What the head is trained by at the end, when it is trained alone (``TrainingSettings.head_maps``)."""
        return self.loss(output, targets)

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """All that must agree for weights to be used, as plain values."""
