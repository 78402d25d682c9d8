"""An sbi user: our prior and simulator in sbi's own trainer, its posterior judged by our report."""

import numpy as np
from sbi.inference import NPE, simulate_for_sbi
from sbi.neural_nets import posterior_nn
from sbi.utils.user_input_checks import process_prior, process_simulator

import gcesbi
from gcesbi.estimators import NetworkSettings, map_embedding

model = gcesbi.SkyModel.preset("inner-galaxy", nside=16, n_energy=1, gce_populations=1)
prior, _, is_numpy = process_prior(model.prior())
simulator = process_simulator(gcesbi.Simulator(model), prior, is_numpy)
theta, x = simulate_for_sbi(simulator, prior, 400, seed=1, show_progress_bar=False)
print("maps:", tuple(x.shape), "parameters:", len(model.prior().names))

embedding = map_embedding(model, x[:300], network=NetworkSettings(widths=(8, 16), n_features=32))
build = posterior_nn("maf", embedding_net=embedding, z_score_x="none", hidden_features=16, num_transforms=2)
inference = NPE(prior=prior, density_estimator=build, show_progress_bars=False)
inference.append_simulations(theta[:300], x[:300]).train(max_num_epochs=3)
posterior = inference.build_posterior()

held_out = slice(300, 400)
draws = posterior.sample_batched((99,), x=x[held_out], show_progress_bars=False, reject_outside_prior=False)
known = {"NPE": draws.detach().numpy(), "prior": np.stack([prior.sample((99,)).numpy()] * 100, axis=1)}
found = gcesbi.validation.report(theta[held_out].numpy(), known, labels=model.prior().names)
print(found.verdict)
found.to_html("npe.html")
