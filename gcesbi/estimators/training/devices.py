"""Which devices train, and in which precision: Lightning Fabric, set up for one process or several.

Several devices take Fabric's distributed data parallel. Its launcher runs the present script once more for every
further device (or finds the processes that ``torchrun`` or SLURM started); all of them execute every line. What only
one of them may do, such as writing files, asks :func:`is_main_process` first.
"""

import copy
from typing import Any, TypeVar

import torch
from torch import nn

__all__ = ["chosen_precision", "has_bfloat16", "is_main_process", "launch", "with_shared_statistics"]

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


def launch(devices: int, precision: str) -> Any:
    """A Fabric whose processes are running.

    Parameters
    ----------
    devices : int
        GPUs where there are any, else processes of the CPU.
    precision : {"auto", "bfloat16", "float32"}

    Returns
    -------
    lightning.fabric.Fabric
    """
    from lightning.fabric import Fabric
    from lightning.fabric.plugins import MixedPrecision, Precision
    from lightning.fabric.plugins.environments import LightningEnvironment

    device = "cuda" if torch.cuda.is_available() else "cpu"
    half = chosen_precision(precision) == "bfloat16"
    plugins: list[Any] = [MixedPrecision("bf16-mixed", device) if half else Precision()]
    if devices == 1:  # whatever launcher this process comes from: SLURM's tasks or torchrun's ranks are not ours
        return Fabric(accelerator=device, devices=1, strategy="auto", plugins=[*plugins, LightningEnvironment()])
    fabric = Fabric(accelerator=device, devices=devices, strategy="ddp", plugins=plugins)
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
