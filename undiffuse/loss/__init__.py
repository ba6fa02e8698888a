"""What a denoiser is trained to do.

    loss(denoiser, x_0, noise, conditions=None) -> losses (batch,)

`loss`            what every loss is
`denoising`       the one loss of diffusion: a law of `time` x a `weight` x a distance
`weight`          at the t that was drawn; `integral`: over log-SNR, whatever the law of t
`time`            laws of t; `draws`: spread over a batch; `adaptive`: that learn where to look
`variational`     the bound on the likelihood: T steps, learned variance, continuous time
`categorical`     for tokens: the bound in steps, of the mask, and unrolled
`mixed`           for rows of numbers and tokens, of which some are given
`cross_entropy`   for a classifier of noisy data
`score_matching`  for a plain score network, as the score papers do
"""
