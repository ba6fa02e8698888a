"""What a denoiser is trained to do.

    loss(denoiser, x_0, noise, conditions=None) -> losses (batch,)

`loss`            what every loss is
`denoising`       the one loss of diffusion: a distribution of t, a weight and a distance
`weight`          weights at the t that was drawn; `integral`: weights over log-SNR, whatever the distribution of t
`time`            distributions of t; `draws`: how a batch spreads them; `adaptive`: those that learn from the losses
`variational`     bounds on the likelihood: T steps, learned variance, continuous time
`categorical`     for tokens: the bound on T steps, the bound for the mask, and unrolled denoising
`mixed`           for rows of numbers and tokens, some of which are given
`cross_entropy`   for a classifier of noisy data
`score_matching`  for a plain score network, as in the score matching papers
"""
