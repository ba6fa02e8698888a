"""undiffuse: diffusion models as a few small parts that fit together."""
