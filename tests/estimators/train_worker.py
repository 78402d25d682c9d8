"""A small training, for the tests that kill it or start it on several devices; as a script, in a process of its own."""

import json
import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch._dynamo  # noqa: F401 - which every optimizer else imports at its first step, in each fork anew
from safetensors.torch import save_file

from gcesbi.estimators import NetworkSettings, SourceCountEstimator, SpectralEstimator, TrainingSettings
from gcesbi.estimators.training.devices import is_main_process
from gcesbi.simulation.simulations import Simulations
from gcesbi.sky.region import Region

REGION = Region.disc(16)
SMALL = NetworkSettings(widths=(4, 8), n_features=8, norm="instance")


def simulate(n=200, seed=0):
    """Maps of one energy bin whose labels the counts tell."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.1, 0.9, n)
    counts = rng.poisson(1 + 4 * share[:, None, None], (n, 1, REGION.n_pix)).astype(np.uint16)
    both = np.stack([share, 1 - share], axis=1)
    return Simulations(share[:, None], counts, both[:, :, None], both[:, None, :], np.ones((n, 1)))


def make(kind):
    """An untrained estimator."""
    exposure = np.ones((1, REGION.n_pix))
    if kind == "spectra":
        return SpectralEstimator(REGION, exposure, ("a", "b"), network=SMALL)
    return SourceCountEstimator(REGION, exposure, ("a",), n_bin=2, network=SMALL)


def train(estimator, folder, devices=1):
    """Train for 30 steps; weights, history and log are left in a folder."""
    settings = TrainingSettings(
        max_maps=960, batch_size=32, precision="float32", checkpoint_every=3, log_every=4, devices=devices
    )
    history = estimator.fit(simulate(), settings, checkpoint=folder / "run.ckpt", log=folder / "log.csv")
    if is_main_process(devices):
        save_file({name: value.contiguous() for name, value in estimator.state_dict().items()}, folder / "weights")
        (folder / "history.json").write_text(json.dumps(history.to_dict()))


def kill_in_step(estimator, step):
    """Let the loss of a step be the end of this very process: no handler runs, no file is closed."""
    loss, steps = estimator.loss, []

    def deadly(output, targets):
        steps.append(estimator.training)
        if sum(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(output, targets)

    estimator.loss = deadly


def status_of(job):
    """Exit status of a process that does a job: forked, so that it need not import everything once more."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    job()
    os._exit(0)


def kill_and_resume(whole, cut, kept, step):
    """A training in one process, and in two of which the first is killed; exit status of each.

    What the killed one left is copied to a folder.
    """
    estimator = make("source_counts")
    kill_in_step(estimator, step)
    yield status_of(partial(train, estimator, cut))
    shutil.copytree(cut, kept)
    for folder in (cut, whole):
        yield status_of(partial(train, make("source_counts"), folder))


if __name__ == "__main__":
    if sys.argv[1] == "kill":
        *folders, step = sys.argv[2:]
        sys.stdout.write(" ".join(str(status) for status in kill_and_resume(*map(Path, folders), int(step))))
    else:
        kind, target, devices = sys.argv[1:]
        train(make(kind), Path(target), int(devices))
