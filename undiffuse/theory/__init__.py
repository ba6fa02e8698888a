"""Theory as code: bounds and likelihoods, Langevin dynamics, the denoiser as a projection."""
