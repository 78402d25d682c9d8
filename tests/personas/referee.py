"""A referee: are the error bars of the shipped networks true on fresh maps, and do they refuse a map of another sky?"""

import numpy as np

import gcesbi
from gcesbi.analysis.gate import judge
from gcesbi.analysis.infer import load_networks
from gcesbi.validation import report

run = gcesbi.Run.pretrained("pretrained")
fresh = run.simulator.sample(200, seed=2026, workers=2)  # no map that trained or judged them
spectra, source_counts = load_networks(run)
levels = np.arange(1, 80) / 80
curves, truth = source_counts.quantiles(fresh.counts, levels), np.minimum(np.cumsum(fresh.scd, axis=-1), 1)
for j, name in enumerate(run.model.point_sources):
    print(name, report(truth[:, j], {"networks": (curves[:, :, j], levels)}, cdf=True).verdict)

theta = run.model.prior().from_uniform(np.full((1, len(run.model.prior().names)), 0.5))[0]
seen, _ = run.simulator.observe(theta, seed=1)
print("a map of the model:", judge(run, seen).accepted)
counts = seen.counts.copy()
counts[:, seen.region.glon_glat()[1] > 0] *= 2  # a northern sky twice as bright: no model of ours
strange = gcesbi.Observation(counts, seen.exposure, seen.energy_edges, seen.region)
verdict = judge(run, strange)
print("a map of another sky:", verdict.accepted, "-", verdict)
