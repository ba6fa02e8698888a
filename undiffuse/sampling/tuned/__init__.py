"""A sampler of a model's own: its times and its coefficients, fitted to the model's own fine solution.

`tableau`       a deterministic sampler as a table of numbers, and the step that follows it
`problem`       noise, where the fine solution takes it, and how far from there a tableau ends
`parameters`    what of a tableau may change: the grid of a sampler, or every number
`gauss_newton`  which change brings the ends nearest
`tune`          the search, from the best of the fixed samplers
"""
