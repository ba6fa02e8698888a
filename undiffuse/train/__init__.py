"""Training: `loop` is the whole of it, `trainer` one step; each other file holds one idea."""
