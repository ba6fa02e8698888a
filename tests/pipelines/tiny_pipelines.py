"""Tiny pipelines of diffusers, with random weights, saved as it saves them."""

import json
from pathlib import Path

import torch

CLASSES = 1000  # DiT's: its pipeline takes the label after the last, 1000, for none
WORDS = ["a", "red", "blue", "circle", "square", "of", "left"]


def seeded():
    torch.manual_seed(0)


def unconditional(folder: Path, channels: int = 1, size: int = 8, **settings) -> Path:
    """DDIM's or DDPM's, of pixels."""
    import diffusers

    seeded()
    unet = diffusers.UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        layers_per_block=1,
    )
    scheduler = diffusers.DDIMScheduler(**{"clip_sample": False, "timestep_spacing": "trailing", **settings})
    diffusers.DDIMPipeline(lively(unet), scheduler).save_pretrained(folder)
    return folder


def autoencoder(latent: int = 4, **settings):
    import diffusers

    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=latent,
        norm_num_groups=4,
        sample_size=16,
        **settings,
    )


def dit(folder: Path) -> Path:
    """DiT's: labels, latents, a learned variance."""
    import diffusers

    seeded()
    transformer = diffusers.DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        sample_size=8,
        patch_size=2,
        norm_num_groups=4,
        num_embeds_ada_norm=CLASSES,
    )
    scheduler = diffusers.DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    names = {k: f"thing {k}, alias" for k in range(CLASSES)} | {7: "crane, bird", 9: "crane, machine"}
    diffusers.DiTPipeline(lively(transformer), autoencoder(), scheduler).save_pretrained(folder)
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"id2label": names}))  # as it is published
    return folder


def words_of(folder: Path):
    """CLIP's tokenizer, of a few words."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(33, 127)]
    marks = ["<|startoftext|>", "<|endoftext|>"]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *marks]
    (folder / "vocab.json").write_text(json.dumps({token: k for k, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=20)


def tower(vocabulary: int, kind: str = "CLIPTextModel", width: int = 16):
    """CLIP's text tower."""
    import transformers

    config = transformers.CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=20,
        projection_dim=width,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
    )
    return getattr(transformers, kind)(config).eval()


WORDED = {  # a U-Net that attends to words
    "sample_size": 8,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}


def stable_diffusion(folder: Path, work: Path, **settings) -> Path:
    """Stable Diffusion's: words, latents."""
    import diffusers

    seeded()
    tokenizer = words_of(work)
    unet = diffusers.UNet2DConditionModel(
        **WORDED,
        cross_attention_dim=16,
        attention_head_dim=2,
    )
    scheduler = diffusers.DDIMScheduler(
        **{
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "clip_sample": False,
            "timestep_spacing": "trailing",
            **settings,
        }
    )
    pipeline = diffusers.StableDiffusionPipeline(
        vae=autoencoder(scaling_factor=0.2),
        text_encoder=tower(len(tokenizer)),
        tokenizer=tokenizer,
        unet=lively(unet),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


def sdxl(folder: Path, work: Path) -> Path:
    """SDXL's: two text towers, and the size of the picture."""
    import diffusers

    seeded()
    tokenizer = words_of(work)
    unet = diffusers.UNet2DConditionModel(
        **WORDED,
        cross_attention_dim=32,
        attention_head_dim=2,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=16 + 6 * 4,
        use_linear_projection=True,
    )
    scheduler = diffusers.DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    diffusers.StableDiffusionXLPipeline(
        vae=autoencoder(),
        text_encoder=tower(len(tokenizer)),
        text_encoder_2=tower(len(tokenizer), "CLIPTextModelWithProjection"),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=lively(unet),
        scheduler=scheduler,
    ).save_pretrained(folder)
    return folder


def sd3(folder: Path, work: Path, **settings) -> Path:
    """SD3's: a flow, two text towers, a T5 that was left out."""
    import diffusers

    seeded()
    tokenizer = words_of(work)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_projection_dim=16,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        pos_embed_max_size=8,
    )
    diffusers.StableDiffusion3Pipeline(
        transformer=lively(transformer),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(**{"shift": 3.0, **settings}),
        vae=autoencoder(shift_factor=0.3, scaling_factor=1.5),
        text_encoder=tower(len(tokenizer), "CLIPTextModelWithProjection"),
        text_encoder_2=tower(len(tokenizer), "CLIPTextModelWithProjection"),
        text_encoder_3=None,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        tokenizer_3=None,
    ).save_pretrained(folder)
    return folder


def lively(net):
    """Weights that none is zero, so that everything that the network is told matters."""
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return net
