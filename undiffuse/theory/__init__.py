"""What can be said exactly: bounds and likelihoods, Langevin dynamics, the denoiser as a projection."""
