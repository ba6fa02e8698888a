"""The weights of a Stable Diffusion pipeline as one file, by the names of its authors (CompVis): the way back of what
diffusers converts. For tiny ones; a U-Net's block has ``LAYERS`` layers."""

import re
from pathlib import Path

import torch

from undiffuse.core.files import write_tensors

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
LAYERS, BLOCKS = 1, 2


def of_unet(name: str) -> str:
    """model.diffusion_model. ..."""
    for ours, theirs in ENDS.items():
        name = re.sub(f"^{ours}(?=\\.)", theirs, name)
    for ours, theirs in RESNET.items():
        name = re.sub(f"(resnets\\.\\d+)\\.{ours}(?=\\.)", f"\\1.{theirs}", name)
    name = re.sub(r"^mid_block\.attentions\.0", "middle_block.1", name)
    name = re.sub(r"^mid_block\.resnets\.(\d)", lambda m: f"middle_block.{2 * int(m[1])}", name)
    every = LAYERS + 1
    for kind, place in (("resnets", 0), ("attentions", 1)):
        name = re.sub(
            rf"^down_blocks\.(\d)\.{kind}\.(\d)",
            lambda m, place=place: f"input_blocks.{every * int(m[1]) + int(m[2]) + 1}.{place}",
            name,
        )
        name = re.sub(
            rf"^up_blocks\.(\d)\.{kind}\.(\d)",
            lambda m, place=place: f"output_blocks.{every * int(m[1]) + int(m[2])}.{place}",
            name,
        )
    name = re.sub(
        r"^down_blocks\.(\d)\.downsamplers\.0\.conv", lambda m: f"input_blocks.{every * (int(m[1]) + 1)}.0.op", name
    )
    return re.sub(r"^up_blocks\.(\d)\.upsamplers\.0", lambda m: f"output_blocks.{every * int(m[1]) + LAYERS}.1", name)


def of_autoencoder(name: str) -> str:
    """first_stage_model. ..."""
    name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    for ours, theirs in ATTENTION.items():
        name = name.replace(f"mid_block.attentions.0.{ours}.", f"mid.attn_1.{theirs}.")
    name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{BLOCKS - 1 - int(m[1])}.block.{m[2]}", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{BLOCKS - 1 - int(m[1])}.upsample", name)


def write_whole(pipeline, path: Path) -> None:
    """All weights of a pipeline, in one file."""
    tensors = {f"model.diffusion_model.{of_unet(name)}": x for name, x in pipeline.unet.state_dict().items()}
    for name, x in pipeline.vae.state_dict().items():
        as_convolution = ".attentions." in name and x.ndim == 2
        tensors[f"first_stage_model.{of_autoencoder(name)}"] = x[:, :, None, None] if as_convolution else x
    words = pipeline.text_encoder.state_dict()
    prefix = "" if any(name.startswith("text_model.") for name in words) else "text_model."
    tensors |= {f"cond_stage_model.transformer.{prefix}{name}": x for name, x in words.items()}
    write_tensors(path, {name: x.contiguous() for name, x in tensors.items() if x.dtype != torch.int64})
