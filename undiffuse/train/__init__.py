"""Training: `loop` is the whole of it, `trainer` one step; the rest is a file an idea."""
