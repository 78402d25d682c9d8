"""Backends: same bytes, whoever draws, and whoever dies."""

import os
import signal
import warnings
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from gcesbi import InputError, SimulationStore, Simulator, SkyModel
from gcesbi.simulation import compose, rebuild
from gcesbi.simulation.parallel import ShardJob, draw_shards
from gcesbi.simulation.rebuild import Recipe
from gcesbi.simulation.simulator import SHARD

N_SHARD = 16


@pytest.fixture(scope="module")
def light():
    return Simulator(SkyModel.preset("inner-galaxy", nside=16, n_energy=1, weeks=30))


@pytest.fixture(scope="module")
def kept(light, tmp_path_factory):
    """File of the sky's maps, as runs keep them: processes start sooner."""
    path = tmp_path_factory.mktemp("sky") / "sky.npz"
    light.model.maps.save(path, light.model.settings.law())
    return path


@pytest.fixture(scope="module")
def wanted(light, tmp_path_factory):
    """Files that one local thread writes."""
    return content(fill(light, tmp_path_factory.mktemp("one") / "maps"))


@pytest.fixture(scope="module")
def cluster():
    from dask.distributed import LocalCluster

    with (
        warnings.catch_warnings(),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
    ):
        yield cluster


@pytest.fixture(scope="module")
def loky():
    """Process numbers of loky's workers."""
    from joblib.externals.loky import get_reusable_executor

    def workers():
        children = psutil.Process().children()
        return [child.pid for child in children if "LokyProcess" in " ".join(child.cmdline())]

    yield workers
    get_reusable_executor(kill_workers=True).shutdown(wait=True, kill_workers=True)


def fill(simulator, folder, **more):
    store = SimulationStore.create(folder, simulator, seed=6)
    store.fill(simulator, N_SHARD * SHARD, **more)
    return store


def content(store):
    return {path.name: path.read_bytes() for path in Path(store.url).iterdir()}


def test_two_processes_of_this_machine(light, kept, wanted, loky, tmp_path):
    assert content(fill(light, tmp_path, workers=2, backend="loky", kept_maps=kept)) == wanted


def test_a_local_process_dies_and_the_job_finishes(light, wanted, loky, tmp_path):
    store = SimulationStore.create(tmp_path, light, seed=6)
    job = ShardJob(store.place, store.recipe, 6)
    done = []
    for k in draw_shards(job, range(N_SHARD), light, workers=2, backend="loky"):
        done.append(k)
        if len(done) == 3:
            os.kill(loky()[0], signal.SIGKILL)
    assert len(done) > 3
    assert sorted(done) == list(range(N_SHARD))
    store.place.sweep()
    assert content(store) == wanted


def test_a_cluster_of_two_processes(light, kept, wanted, cluster, tmp_path):
    found = fill(light, tmp_path, backend="dask", scheduler=cluster.scheduler_address, kept_maps=kept)
    assert content(found) == wanted


@pytest.mark.slow  # quick: a local process that dies, and the cluster, above
def test_a_worker_of_the_cluster_dies_and_the_job_finishes(light, wanted, cluster, tmp_path):
    store = SimulationStore.create(tmp_path, light, seed=6)
    job = ShardJob(store.place, store.recipe, 6)
    victim = cluster.workers[0].pid
    done = []
    for k in draw_shards(job, range(N_SHARD), light, backend="dask", scheduler=cluster.scheduler_address):
        done.append(k)
        if len(done) == 3:
            os.kill(victim, signal.SIGKILL)
    assert sorted(done) == list(range(N_SHARD))
    assert not psutil.pid_exists(victim) or psutil.Process(victim).status() == psutil.STATUS_ZOMBIE
    store.place.sweep()
    assert content(store) == wanted


def test_what_a_worker_of_the_cluster_cannot_do_is_told(light, cluster, tmp_path):
    store = SimulationStore.create(tmp_path, light, seed=6)
    (tmp_path / "00002.zip").mkdir()  # in the way of a shard
    (tmp_path / "00002.zip" / "x").touch()
    job = ShardJob(store.place, store.recipe, 6)
    with pytest.raises(InputError, match=r"00002\.zip: cannot be written"):
        list(draw_shards(job, range(4), light, backend="dask", scheduler=cluster.scheduler_address))


def test_processes_read_the_kept_maps_of_their_sky_and_no_others(light, tmp_path, monkeypatch):
    """What has no maps that fit computes them, which is forbidden here."""
    model, other = light.model, SkyModel.preset("inner-galaxy", nside=8, n_energy=1, weeks=30)
    model.maps.save(tmp_path / "sky.npz", model.settings.law())
    recipe, kept = Recipe.of(model), str(tmp_path / "sky.npz")
    monkeypatch.setattr("gcesbi.simulation.model.compose", _never_drawn)
    rebuild._build.cache_clear()
    assert replace(recipe, kept=kept).simulator().model.fingerprint == model.fingerprint
    for wrong in (None, str(tmp_path / "nowhere.npz")):
        rebuild._build.cache_clear()
        with pytest.raises(LookupError, match="drawn"):
            replace(recipe, kept=wrong).simulator()
    with pytest.raises(LookupError, match="drawn"):
        replace(Recipe.of(other), kept=kept).simulator()
    monkeypatch.setattr("gcesbi.simulation.template_maps.version", lambda _: "9.9")
    rebuild._build.cache_clear()
    with pytest.raises(LookupError, match="drawn"):
        replace(recipe, kept=kept).simulator()


def _never_drawn(sky, maps=None, *more):
    if maps is None:
        raise LookupError("drawn")
    return compose.compose(sky, maps, *more)


def test_a_recipe_builds_the_same_model_once(light):
    half = Simulator(light.model.with_region(type(light.model.region)(16, light.model.region.pixels[::2])))
    for simulator in (light, half):
        recipe = Recipe.of(simulator.model)
        again = recipe.simulator()
        assert again is recipe.simulator()
        assert again.model.fingerprint == simulator.model.fingerprint
        assert again.model.region == simulator.model.region
        assert Recipe.from_dict(recipe.to_dict()) == recipe
    with pytest.raises(InputError, match="its settings must build model wrong again"):
        Recipe(Recipe.of(light.model).text, "wrong").simulator()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"backend": "mpi"}, "backend: must be one of threads, loky, dask, got 'mpi'"),
        ({"backend": "dask"}, "scheduler: the dask backend, and no other, needs one"),
        ({"scheduler": "tcp://x:1"}, "scheduler: the dask backend, and no other, needs one"),
        ({"workers": 0}, "n, workers: must be at least 1, got 2048, 0"),
    ],
)
def test_bad_input_is_refused(light, tmp_path, more, message):
    with pytest.raises(InputError, match=message):
        fill(light, tmp_path, **more)


def test_memory_is_for_threads_only(light):
    with pytest.raises(InputError, match="is seen by this process only; must be threads, got 'loky'"):
        fill(light, "memory://parallel", workers=2, backend="loky")


def test_a_scheduler_that_is_not_there_is_told(light, tmp_path, monkeypatch):
    import gcesbi.simulation.parallel as parallel

    monkeypatch.setattr(parallel, "PATIENCE", 0.3)
    with pytest.raises(InputError, match=r"scheduler: 'tcp://127.0.0.1:9' cannot be reached"):
        fill(light, tmp_path, backend="dask", scheduler="tcp://127.0.0.1:9")
