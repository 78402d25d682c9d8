"""What a sky cannot be: one line that names the thing, in TOML and in Python, and nothing written."""

import numpy as np
import pytest

from gcesbi import InputError, Map, PointSources, SkyModel, Smooth

SKY = """
energy_edges = "2:20:2"
[region]
nside = 16
[[components]]
name = "gas"
kind = "smooth"
template = "isotropic"
norm = [0, 1]
[[components]]
name = "dots"
kind = "point-sources"
template = { formula = "nfw" }
populations = [ { xi = [-11, -9], flux = [0, 1e-7] } ]
"""
NFW = '{ formula = "nfw" }'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("skies")
    maps = {
        "small": np.ones(12 * 8**2),
        "odd": np.ones(100),
        "cube": np.ones((3, 12 * 16**2)),
        "nil": np.zeros(12 * 16**2),
        "below": -np.ones(12 * 16**2),
        "good": np.ones(12 * 16**2),
        "fine": np.ones(12 * 32**2),
        "pair": np.ones((2, 12 * 16**2)),
    }
    for name, values in maps.items():
        np.save(found / f"{name}.npy", values)
    return found


def gas(template):
    return 'template = "isotropic"', f"template = {{ {template} }}"


def nuisance(told):
    return "norm = [0, 1]", f"norm = [0, 1]\nnuisances = [ {{ {told} }} ]"


def top(line):
    return "[region]", f"{line}\n[region]"


CASES = [
    # unknown keys, and names of what is not there
    ("energy_edges", "enrgy_edges", r"sky.toml: enrgy_edges: unknown setting; the nearest valid one is 'energy_edges'"),
    ("nside", "nsid", "region: nsid: unknown setting; the nearest valid one is 'nside'"),
    ("norm", "nrm", "component gas: nrm: unknown setting; the nearest valid one is 'norm'"),
    ("xi", "ksi", "component dots: population 1: ksi: unknown setting; the nearest valid one is 'xi'"),
    (NFW, '{ formula = "nfw", gama = 1 }', "component dots: .*gama is no parameter; the nearest valid one is 'gamma'"),
    ('"nfw"', '"nwf"', "component dots: .*must be a built-in template, got 'nwf'; the nearest valid one is 'nfw'"),
    (NFW, '{ mixture = ["nfw", "dsk"] }', "component dots: .*mixture 2: .* got 'dsk'; the nearest valid one is 'disk'"),
    ('"smooth"', '"smoth"', "component gas: kind: must be one of smooth, .* got 'smoth'; the nearest .* 'smooth'"),
    ('kind = "smooth"\n', "", "component gas: kind is missing"),
    ("norm = [0, 1]\n", "", "component gas: norm: is missing"),
    ('energy_edges = "2:20:2"\n', "", "energy_edges: is missing"),
    (*top('subject = "dot"'), "subject: must be a component, got 'dot'; the nearest valid one is 'dots'"),
    (*top("exposure = { wekks = 3 }"), "exposure: wekks: unknown setting; the nearest valid one is 'weeks'"),
    (*top('psf = "defalt"'), "psf: name: input should be 'default' or 'customary-2gev', got 'defalt'"),
    (*top("exposure_error = 0.4"), "exposure_error: input should be less than 0.33, got 0.4"),  # else it may be nil
    # what contradicts itself
    (
        *top("psf = { weights = [[1], [1]], sigmas = [[1e-3], [2e-3]], gammas = [[3], [3]] }\nsummed = true"),
        "summed: psf must be 'default', a file's or one for all bins",
    ),
    ('name = "dots"', 'name = "gas"', "components: two have the name 'gas'"),
    ('name = "gas"', 'name = "2gas"', "name: must be a word that begins with a letter, got '2gas'"),
    ('"2:20:2"', "[20, 2]", "energy_edges: must be positive and increasing"),
    ('"2:20:2"', '"2:20"', "energy_edges: must be edges in GeV or 'low:high:n', got '2:20'"),
    ("nside = 16", "nside = 48", "region: nside: must be a power of two, got 48"),
    ("nside = 16", "nside = 16\nradius = 1", "region: no pixel is left"),
    # maps that do not fit
    (*gas('file = "small.npy", order = "ring", smoothed = true'), "small.npy: nside must be at least the model's 16"),
    (*gas('file = "odd.npy", order = "ring", smoothed = true'), "odd.npy: must have a HEALPix size"),
    (*gas('file = "cube.npy", order = "ring", smoothed = true'), "cube.npy: needs one map for each of 2 energy bins"),
    (
        *gas('file = "good.npy", order = "ring", smoothed = true, bins = [0, 2]'),
        "good.npy: bins: must be the first and",
    ),
    (*gas('file = "cube.npy", order = "ring", smoothed = true, bins = [2, 4]'), r"bins: .* of 3 maps, got \[2, 4\]"),
    (*gas('file = "cube.npy", order = "ring", smoothed = true, bins = [2, 1]'), r"bins: .* of 3 maps, got \[2, 1\]"),
    (*top("exposure = { values = 1e11, bins = [1, 2] }"), r"exposure: bins: must be .* of 1 maps, got \[1, 2\]"),
    (*gas('file = "nil.npy", order = "ring", smoothed = true'), "component gas: its template is zero in the region"),
    (
        *gas('file = "below.npy", order = "ring", smoothed = true'),
        "below.npy: must be finite and not negative",
    ),
    (
        *gas('file = "good.npy", smoothed = true'),
        "component gas: order: must be .* for .*good.npy, an array over the whole sky",
    ),
    (*gas('file = "good.npy", order = "ring"'), "component gas: its map must say whether the PSF is applied"),
    ("nside = 16", 'nside = 16\nmask = "good.npy"', "region: mask_order must be stated"),
    ("nside = 16", 'nside = 16\nmask = "small.npy"\nmask_order = "ring"', "region: nside: must be at most"),
    (*top("exposure = -1.0"), "exposure: must be above zero inside the region"),
    (*top('exposure = { file = "cube.npy", order = "ring" }'), "exposure: needs one map for each of 2 energy bins"),
    # missing files, by the folder in which they are looked for
    (*gas('file = "none.npy", order = "ring", smoothed = true'), "file: .* got '/.*/skies.*/none.npy'"),
    ("nside = 16", 'nside = 16\nmask = "none.npy"\nmask_order = "ring"', "file: .* got '/.*/skies.*/none.npy'"),
    (*top('exposure = { file = "none.fits" }'), "file: .* got '/.*/skies.*/none.fits'"),
    # priors and populations
    ("norm = [0, 1]", "norm = [1, 1]", "component gas: norm: uniform prior: lower must be below upper"),
    ("norm = [0, 1]", "norm = [-1, 1]", "component gas: norm must not be negative nor nil, its prior reaches -1"),
    (
        "norm = [0, 1]",
        'norm = { prior = "truncated", of = [0, 1], low = 2 }',
        "component gas: norm: truncated prior: has no mass between 2 and inf",
    ),
    (
        "xi = [-11, -9]",
        'family = "broken-power-law", indices = [[1, 3]]',
        "component dots: population 1: .*its flux diverges",
    ),
    (NFW, '{ formula = "nfw", gamma = [0.9, 1.8] }', r"component dots: .*gamma: must lie in \[0, 1.5\)"),
    (NFW, '{ mixture = ["nfw", "disk"], weight = [0, 2] }', "component dots: .*weight: must lie in"),
    (NFW, '{ mixture = ["nfw", "disk"], alpha = 0 }', "component dots: .*alpha: .* must be above zero, got 0"),
    (NFW, '{ mixture = ["nfw", "disk"], alpha = [1, -2] }', "component dots: .*alpha: .* must be above zero"),
    (
        *gas(
            'mixture = [ { file = "good.npy", order = "ring", smoothed = true }, '
            '{ file = "fine.npy", order = "ring", smoothed = true } ]'
        ),
        "component gas: mixture: maps must agree in nside, .*fine.npy has 32, not 16",
    ),
    (
        *gas(
            'mixture = [ { file = "good.npy", order = "ring", smoothed = true }, '
            '{ file = "pair.npy", order = "ring", smoothed = true } ]'
        ),
        "component gas: mixture: maps must agree in energies, .*pair.npy has 2, not 1",
    ),
    # nuisances
    (*nuisance('kind = "field", length = 2, sigma = -0.1'), "component gas: nuisance 1: sigma: must not be negative"),
    (*nuisance('kind = "field", length = 60, sigma = 0.1'), "component gas: nuisance 1: length: .* 10, got 60"),
    (*nuisance('kind = "harmonics", l_max = 99, sigma = 0.1'), "component gas: harmonics: l_max must be at most 32 "),
    (*nuisance('kind = "field", length = 2'), "component gas: nuisance 1: sigma: is missing"),
    (*nuisance("length = 2, sigma = 0.1"), "component gas: nuisance 1: kind is missing"),
    # includes
    ("\nenergy", '\ninclude = "sky.toml"\nenergy', "sky.toml: includes itself, by way of sky.toml"),
    ("\nenergy", '\ninclude = "round.toml"\nenergy', r"includes itself, by way of sky\.toml, round\.toml"),
    ("\nenergy", '\ninclude = "none.toml"\nenergy', "there is no file '/.*/skies.*/none.toml'"),
    ("\nenergy", "\ninclude = 3\nenergy", "include must be the name of a file, got 3"),
    ("\nenergy", "\nno toml\nenergy", "sky.toml: is no TOML"),
]


@pytest.mark.parametrize(("was", "now", "message"), CASES, ids=[case[1].strip()[:60] for case in CASES])
def test_bad_skies_are_told_in_one_line(folder, was, now, message):
    assert was in SKY
    (folder / "round.toml").write_text('include = "sky.toml"')
    path = folder / "sky.toml"
    path.write_text(SKY.replace(was, now, 1))
    before = sorted(folder.iterdir())
    with pytest.raises(InputError, match=message) as caught:
        SkyModel.from_toml(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert sorted(folder.iterdir()) == before


def test_the_sky_itself_is_good(folder):
    path = folder / "good.toml"
    path.write_text(SKY)
    assert SkyModel.from_toml(path).names == ("gas", "dots")
    brighter = folder / "brighter.toml"
    brighter.write_text('include = "good.toml"\n[[components]]\nname = "gas"\nnorm = [0, 9]\n')
    changed = SkyModel.from_toml(brighter)
    assert changed.names == ("gas", "dots")
    assert changed.prior().marginals[0].range == (0, 9)


def test_python_tells_where_a_relative_path_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dots = PointSources(name="dots", template="nfw", populations=[{"xi": (-11, -9), "flux": (0, 1e-7)}])
    gas_ = Smooth(name="gas", template=Map(file="none.fits", smoothed=True), norm=1.0)
    with pytest.raises(InputError, match=f"file: .* got 'none.fits' in '{tmp_path}'"):
        SkyModel([gas_, dots], region={"nside": 8}, energy_edges="2:20:1")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Smooth(name="gas", template="isotropic", norm=1.0, nomr=2.0), "nomr: unknown setting"),
        (lambda: Smooth(name="gas", template=np.ones(12), norm=1.0), "template: an array must say its order"),
        (lambda: Smooth(name="gas", template="isotropic"), "norm: is missing"),
        (lambda: Map(order="ring"), "map: needs either a file or values"),
        (lambda: Map(values=np.ones(12), file="x.npy"), "map: needs either a file or values"),
        (lambda: Map(file=3), "file: must be a path, got 3"),
        (lambda: Map(values=np.ones(())), "map: values must be a map or image"),
        (lambda: Map(values="x"), "could not convert"),
        (lambda: PointSources(name="d", template="nfw", populations=[]), "populations: .*at least 1 item"),
        (
            lambda: PointSources(
                name="d", template="nfw", populations=[{"xi": -10, "flux": 1e-7}], poisson_share=(0, 2)
            ),
            "component d: poisson_share must lie in",
        ),
    ],
)
def test_bad_components_are_refused_where_they_are_made(make, message):
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
