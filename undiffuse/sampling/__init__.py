"""Which times to visit, by which sampler, in one loop."""
