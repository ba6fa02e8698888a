"""Network + process + prediction = a belief about x_0; guidance: a denoiser in, a denoiser out."""
