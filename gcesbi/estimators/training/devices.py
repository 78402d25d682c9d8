"""Which devices train, and in which precision: one process, or several that Lightning Fabric sets up.

Fabric takes three seconds to import, of which one device has nothing: :class:`OneDevice` does the little that it would
do. Several devices take Fabric's distributed data parallel. Its launcher runs the present script once more for every
further device (or finds the processes that ``torchrun`` or SLURM started); all of them execute every line. What only
one of them may do, such as writing files, asks :func:`is_main_process` first.
"""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

__all__ = ["OneDevice", "chosen_precision", "has_bfloat16", "is_main_process", "launch", "with_shared_statistics"]

Module = TypeVar("Module", bound=nn.Module)


def has_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 natively (AVX512-BF16 or AMX; CUDA devices that support it)."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def chosen_precision(precision: str) -> str:
    """The precision that "auto" means on this machine; any other as it is."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_bfloat16() else "float32"


class OneDevice:
    """What the loop asks of a Fabric, on one device.

    Parameters
    ----------
    half : bool
        Run networks in bfloat16 where it is safe; their outputs are float32.
    """

    world_size, global_rank, is_global_zero = 1, 0, True

    def __init__(self, half: bool) -> None:
        self.device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
        self.half = half

    def autocast(self) -> torch.autocast:
        """Context in which networks are run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)

    def setup(
        self, network: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[Callable[[torch.Tensor], Any], torch.optim.Optimizer]:
        """How the network, now on the device, is run; and the optimizer."""
        network.to(self.device)

        def run(inputs: torch.Tensor) -> Any:
            with self.autocast():
                found = network(inputs)
            return tree_map_only(torch.Tensor, lambda each: each.float(), found) if self.half else found

        return run, optimizer

    def backward(self, loss: torch.Tensor) -> None:
        """Gradients of a loss."""
        loss.backward()


def launch(devices: int, precision: str) -> Any:
    """The device, or a Fabric whose processes are running.

    Parameters
    ----------
    devices : int
        GPUs where there are any, else processes of the CPU.
    precision : {"auto", "bfloat16", "float32"}

    Returns
    -------
    OneDevice or lightning.fabric.Fabric
    """
    half = chosen_precision(precision) == "bfloat16"
    if devices == 1:  # whatever launcher this process comes from: SLURM's tasks or torchrun's ranks are not ours
        return OneDevice(half)
    from lightning.fabric import Fabric
    from lightning.fabric.plugins import MixedPrecision, Precision

    device = "cuda" if torch.cuda.is_available() else "cpu"
    plugin = MixedPrecision("bf16-mixed", device) if half else Precision()
    fabric = Fabric(accelerator=device, devices=devices, strategy="ddp", plugins=[plugin])
    fabric.launch()
    return fabric


def is_main_process(devices: int) -> bool:
    """Whether this process is the one that writes files and speaks, of a training on so many devices."""
    if devices == 1:
        return True
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    return getattr(rank_zero_only, "rank", 0) == 0


def with_shared_statistics(network: Module, fabric: Any) -> Module:
    """The network itself; on several GPUs a copy whose batch normalisation sees the maps of all."""
    if fabric.world_size == 1 or fabric.device.type == "cpu":
        return network
    return nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(network))
