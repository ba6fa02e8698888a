"""Text encoders that somebody else trained: CLIP's text tower, T5's encoder, BERT's kind, by transformers.

    FrozenModel.of("folder").read(ids, present) -> tokens (batch, length, width), pooled (batch, pooled width)

They do not learn, so each distinct text is computed once: `FrozenEntry` keeps what the encoder said, and training keeps
it on disk beside the run. Each vector is standardised by its own mean and deviation before the layer that learns.
After Saharia et al. 2022 (Imagen), section 2.1. The extra ``text``; weights are safetensors only.
"""

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from undiffuse.condition.conditions import Entry
from undiffuse.condition.routes import Routes
from undiffuse.condition.text import Frozen, mean
from undiffuse.condition.words import located
from undiffuse.core.errors import UserError
from undiffuse.core.files import read_tensors, write_tensors
from undiffuse.core.memory import require

FACTOR = 0x5851F42D4C957F2D  # odd
CLASSES = {"clip": "CLIPTextModel", "clip_text_model": "CLIPTextModel", "t5": "T5EncoderModel"}  # else AutoModel
AT_ONCE = 256  # texts


@dataclass(frozen=True)
class FrozenModel:
    """An encoder of `transformers`, which does not learn."""

    model: Any
    width: int  # of its tokens

    @staticmethod
    @lru_cache(maxsize=2)
    def of(path: str) -> "FrozenModel":
        """The encoder in a folder, or of a package. Raises UserError for none, another kind, or other weights than
        safetensors."""
        model = _loaded(located(path), path)
        return FrozenModel(model, int(model.config.hidden_size))

    @torch.no_grad()
    def read(self, ids: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens, 0 where there is none, and the pooled vector: CLIP's own, of the others the mean of the tokens."""
        device = next(self.model.parameters()).device
        ids, present = ids.masked_fill(~present, 0).to(device), present.to(device)
        said = self.model(input_ids=ids, attention_mask=present.long())
        tokens = said.last_hidden_state.float() * present[..., None]
        own = said.pooler_output.float() if "clip" in self.model.config.model_type else mean(tokens, present)
        return tokens, own


class FrozenEntry(nn.Module):
    """(batch, length) ids as one more token each, and the pooled vector, of an encoder that does not learn.

    Outside of training, a text that was not computed yet is computed when it is first asked for.
    """

    routes = ("tokens", "vector")

    def __init__(self, of: Frozen, length: int, vocabulary: int, width: int) -> None:
        super().__init__()
        self.path, self.vocabulary = of.path, vocabulary
        inner = FrozenModel.of(of.path).width
        self.kept = TextCache(length, inner)
        self.norm = nn.LayerNorm(inner, elementwise_affine=False)
        self.tokens, self.pooled = nn.Linear(inner, width), nn.Linear(inner, width)
        self.absent = nn.Parameter(torch.randn(1, 1, width))
        self.nothing = nn.Parameter(torch.randn(1, width))

    def forward(self, entry: Entry | None) -> Routes:
        """Tokens (batch, 1 + length, width) and a vector; (1, ...) without an entry."""
        always = torch.ones(1, 1, dtype=torch.bool, device=self.absent.device)
        if entry is None:
            return Routes(self.nothing, self.absent, always)
        if not self.training:  # in training all are computed beforehand, and the device is not waited for
            self.learn(entry.values)
        said, own = self.kept.of(entry.values)
        there = (entry.values < self.vocabulary) & entry.present[:, None]
        count = len(entry.values)
        tokens = torch.cat([self.absent.expand(count, -1, -1), self.tokens(self.norm(said))], 1)
        vector = torch.where(entry.present[:, None], self.pooled(self.norm(own)), self.nothing)
        return Routes(vector, tokens, torch.cat([always.expand(count, -1), there], 1))

    def learn(self, ids: Tensor) -> bool:
        """Compute those of the texts (count, length) that were not computed yet; whether there were any."""
        new = self.kept.missing(ids).cpu()
        if not len(new):
            return False
        require(2 * new.numel() * self.kept.width, f"what {self.path} says of {len(new):,} texts")
        encoder = FrozenModel.of(self.path)
        tokens, pooled = zip(*(encoder.read(part, part < self.vocabulary) for part in new.split(AT_ONCE)), strict=True)
        self.kept.add(new, torch.cat(tokens), torch.cat(pooled))
        return True


class TextCache:
    """What an encoder said of each text so far, found by a hash of the text's ids, on their device, without waiting.

    Copies of a network share it: it does not depend on what is learned.
    """

    def __init__(self, length: int, width: int) -> None:
        self.width = width
        self.held = {
            "hashes": torch.empty(0, dtype=torch.int64),  # in order
            "tokens": torch.empty(0, length, width, dtype=torch.float16),
            "pooled": torch.empty(0, width, dtype=torch.float16),
        }

    def __deepcopy__(self, memo: object) -> "TextCache":
        return self

    def of(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (batch, length, width) and pooled (batch, width) of texts that are known."""
        self.held = {name: part.to(ids.device) for name, part in self.held.items()}
        rows = torch.searchsorted(self.held["hashes"], hashed(ids))
        return self.held["tokens"][rows].float(), self.held["pooled"][rows].float()

    def missing(self, ids: Tensor) -> Tensor:
        """Those of the texts (count, length) that are not known, each once."""
        ids = ids.unique(dim=0)
        return ids[~torch.isin(hashed(ids), self.held["hashes"].to(ids.device))]

    def add(self, ids: Tensor, tokens: Tensor, pooled: Tensor) -> None:
        """Keep what was said of new texts."""
        new = {"hashes": hashed(ids), "tokens": tokens.half(), "pooled": pooled.half()}
        joined = {name: torch.cat([part.cpu(), new[name].cpu()]) for name, part in self.held.items()}
        order = joined["hashes"].argsort()
        self.held = {name: part[order] for name, part in joined.items()}

    def save(self, path: Path, encoder: str) -> None:
        """Write a file, whole or not at all."""
        write_tensors(path, {name: part.cpu().contiguous() for name, part in self.held.items()}, {"encoder": encoder})

    def load(self, path: Path, encoder: str) -> None:
        """Read it again, if it is there, whole, and of this encoder."""
        with suppress(UserError):
            tensors, facts = read_tensors(path)
            alike = {name: part.shape[1:] for name, part in tensors.items()} == {
                name: part.shape[1:] for name, part in self.held.items()
            }
            self.held = tensors if alike and facts.get("encoder") == encoder else self.held


def hashed(ids: Tensor) -> Tensor:
    """A number for each row of ids (count, length), int64: a polynomial in an odd number, modulo 2^64."""
    powers = torch.full((ids.shape[1],), FACTOR, dtype=torch.int64).cumprod(0).to(ids.device)
    return ((ids + 1) * powers).sum(1)


def _loaded(folder: str, name: str) -> Any:
    """The module, in eval mode. Only safetensors are read."""
    try:
        import transformers
        from transformers.utils import logging
    except ImportError:
        raise UserError("a text encoder needs transformers: pip install 'undiffuse[text]'") from None
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # what it would say is said here
    logging.disable_progress_bar()
    try:
        config = transformers.AutoConfig.from_pretrained(folder)
        kind = getattr(transformers, CLASSES.get(config.model_type, "AutoModel"))
        with torch.device("cpu"):  # also where a network is only built to see how large it is
            model = kind.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
        return model.eval().requires_grad_(False)
    except Exception as error:  # of a stranger's files, anything
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise UserError(f"{name}: no text encoder whose weights are safetensors ({reason})") from None
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()
