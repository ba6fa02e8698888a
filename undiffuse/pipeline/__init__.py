"""Models that somebody else trained, as diffusers keeps them: a folder with a model_index.json.

    found = read(FolderParts(path))         found.denoiser, found.codec, found.specifications, found.sampling

`parts`       what such a folder holds, checked; only safetensors are read
`scheduler`   its scheduler_config.json as a process and a prediction
`network`     its network, told a timestep and conditions
`conditions`  what it may be asked for: labels, or words by its own text encoders
`read`        all of these together

`undiffuse.run.folder.load` opens such a folder as a run, so every sampler, grid and guide works on it. The extra
``diffusers``.
"""
