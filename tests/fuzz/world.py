"""A small world to do harm in: runs of a few steps of every kind of data, and files of every format."""

import contextlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from undiffuse.cli import main

TINY = ["--steps", "2", "--batch", "8", "--warmup", "0", "--report-every", "9", "--save-every", "1"]
TINY += ["--sampling-steps", "2"]
MLP = ["--net.width", "8", "--net.depth", "1"]
POINTS = ["--data.count", "60", *MLP]
TABLE = [*MLP, "--precision", "fp32"]
WORDS = [*MLP, "--net.heads", "1"]


class World:
    """A folder with ``runs/`` and ``files/``; of the runs only those that are ``named``, if some are."""

    def __init__(self, folder: Path, named: Sequence[str] = ()) -> None:
        self.folder, self.runs, self.files = folder, folder / "runs", folder / "files"
        self.runs.mkdir(parents=True)
        self.files.mkdir()
        _write_files(self.files)
        pictures = str(self.files / "labelled")
        every = {
            "points": ["moons", *POINTS],
            "classifier": ["moons", *POINTS, "--loss", "cross-entropy"],
            "attributes": [str(self.files / "attributes.npz"), *MLP],
            "pictures": [pictures, "--net", "mlp", *MLP],
            "latent": [pictures, "--net", "mlp", *MLP, "--codec", "mlpvae", *FIT],
            "joint": ["digits-joint", *TABLE],
            "levels": [pictures, *LEVELS],
            "table": [str(self.files / "things.csv"), *TABLE],
            "text": [str(self.files / "rhyme.txt"), "--data.length", "8", *WORDS],
        }
        if not named:
            _write_weights(self.files / "autoencoder")
        for name in named or every:
            self._train(name, *every[name])

    def _train(self, name: str, *words: str) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            assert main(["train", *words, *TINY, "--out", str(self.runs / name), "--quiet"]) == 0, name


FIT = ["--codec.fit.steps", "2", "--codec.fit.batch", "8", "--codec.hidden", "8", "--codec.latent", "2"]
DIT = "{kind: DiT, width: 8, depth: 1, heads: 1, patch: 4}"
LEVELS = ["--codec", "{kind: Levels, count: 4}", "--net", f"{{kind: Embedded, inner: {DIT}}}"]
LEVELS += ["--loss", "token-bound", "--sampler", "ancestral"]


def _write_files(folder: Path) -> None:
    """Files of every format that is read, a few kilobytes each."""
    from PIL import Image

    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 2)).astype(np.float32), random.integers(0, 2, 40)
    np.save(folder / "points.npy", x)
    np.savez(folder / "points.npz", x=x, y=y)
    told = np.stack([np.array(["left", "right"])[y], np.array(["low", "high"])[1 - y]], 1)
    np.savez(folder / "attributes.npz", x=x, y=told, attributes=["side", "height"])
    np.savetxt(folder / "points.csv", x, delimiter=",", header="a,b", comments="")
    for k in range(24):
        label = folder / "labelled" / ("cat", "dog")[k % 2]
        label.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8))
        picture.save(label / f"{k}{('.png', '.jpg', '.bmp', '.gif')[k % 4]}")
    rows = [
        f"{('red', 'blue')[k % 2]},{k / 7:.2f},{k % 5},2026-02-{1 + k % 28:02},{'' if k % 9 else 'x'}"
        for k in range(40)
    ]
    (folder / "things.csv").write_text("\n".join(["colour,size,count,made,odd", *rows]) + "\n")
    (folder / "holes.csv").write_text("\n".join(["colour,size", "red,", ",2.5", ","]) + "\n")
    (folder / "rhyme.txt").write_text("the cat sat on the mat; the dog sat on the cat.\n" * 5)
    idx = folder / "idx"
    idx.mkdir()
    (idx / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + np.array([20, 4, 4], ">u4").tobytes() + bytes(320))
    (idx / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + np.array([20], ">u4").tobytes() + bytes(20))
    autoencoder = folder / "autoencoder"
    autoencoder.mkdir()
    config = {"in_channels": 3, "out_channels": 3, "block_out_channels": [8], "latent_channels": 2}
    blocks = {"down_block_types": ["DownEncoderBlock2D"], "up_block_types": ["UpDecoderBlock2D"], "norm_num_groups": 4}
    (autoencoder / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL", **config, **blocks}))
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    (tokenizer / "config.json").write_text(json.dumps({"model_type": "gpt2"}))


def _write_weights(folder: Path) -> None:
    """Those of the autoencoder; not always, as diffusers takes seconds to import."""
    from diffusers import AutoencoderKL

    AutoencoderKL.from_config(AutoencoderKL.load_config(folder)).save_pretrained(folder)


@contextlib.contextmanager
def scratch(folder: Path) -> Iterator[None]:
    """An empty folder that is the present one, and is gone afterwards."""
    before = Path.cwd()
    folder.mkdir()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        shutil.rmtree(folder)
