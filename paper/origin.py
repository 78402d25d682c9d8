"""Where a run comes from: the commit of the checkout, the day, the machine."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import torch

__all__ = ["commit", "machine", "origin"]

CHECKOUT = Path(__file__).resolve().parents[1]


def origin() -> dict[str, str]:
    """Commit, date (UTC) and machine, as words."""
    return {"commit": commit(), "date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine()}


def commit(checkout: Path = CHECKOUT) -> str:
    """Of the checkout; marked as dirty where tracked files differ from it, "unknown" without git."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> str:
    """Processor, number of cores, and accelerator if there is one."""
    listed = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", listed.read_text()) if listed.is_file() else None
    processor = named[1].strip() if named else platform.processor() or platform.machine()
    accelerator = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    return f"{os.cpu_count()} cores of {processor}{accelerator}"
