"""How good a run is, how likely it finds data, and which sampler is worth how many evaluations."""
