"""What a pipeline of diffusers may be asked for, and how its network is told: by its own embedding or text encoders.

Where a condition is absent, the network is told what its own training told it: the label after the last, or the empty
text. Words travel as the bytes that were typed, since a pipeline may have several tokenizers; each is encoded once.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.routes import Routes
from undiffuse.condition.specification import Labels, Specifications, Text
from undiffuse.condition.words import Utf8
from undiffuse.core.errors import SHORT, UserError, caution, shown
from undiffuse.pipeline.network import DiffusersNet
from undiffuse.pipeline.parts import Parts

LABEL, TEXT = "label", "text"
LONGEST = 1000  # bytes of a text
KEPT = 1000  # texts that are kept encoded
T5_TOKENS = 256  # of SD3


class Asking(Protocol):
    """How a network is told what is asked of it."""

    specifications: Specifications
    droppable: bool  # whether all may be absent, as guidance needs

    def __call__(self, conditions: Conditions | None, count: int) -> Routes:
        """For ``count`` rows."""
        ...


class Unconditional(nn.Module):
    """Nothing may be asked."""

    droppable = False

    def __init__(self) -> None:
        super().__init__()
        self.specifications: Specifications = {}

    def forward(self, conditions: Conditions | None, count: int) -> Routes:
        """Nothing."""
        return Routes()


class ByLabel(nn.Module):
    """One of some names; the network embeds its index itself.

    Args:
        names: Of the labels.
        droppable: Whether the index after the last means none.
    """

    def __init__(self, names: Sequence[str], droppable: bool) -> None:
        super().__init__()
        self.specifications: Specifications = {LABEL: Labels(tuple(names))}
        self.droppable, self.none = droppable, len(names)
        self.register_buffer("nothing", torch.full((1,), self.none), persistent=False)

    nothing: Tensor

    def forward(self, conditions: Conditions | None, count: int) -> Routes:
        """Indices (count,)."""
        if conditions is None:
            return Routes(self.nothing.expand(count))
        values, present = conditions.entries[LABEL]
        return Routes(values.masked_fill(~present, self.none))


class ByWords(nn.Module):
    """Any text, by text encoders that came with the network.

    Args:
        encode: Texts -> routes with a row for each; None is absent.
    """

    droppable = True

    def __init__(self, encode: nn.Module) -> None:
        super().__init__()
        self.encode = encode
        self.specifications: Specifications = {TEXT: Text(LONGEST, 256, Utf8())}
        self.kept: dict[str | None, Routes] = {}

    def forward(self, conditions: Conditions | None, count: int) -> Routes:
        """Tokens, and for some networks a vector, a row each."""
        texts = [None] * count if conditions is None else _texts(conditions)
        if len(self.kept) > KEPT:
            self.kept.clear()
        for text in dict.fromkeys(texts):
            if text not in self.kept:
                self.kept[text] = self.encode(text)
        rows = [self.kept[text] for text in texts]
        device = next(self.encode.parameters()).device
        return Routes(*(_stacked([row[k] for row in rows], device) for k in range(len(Routes._fields))))


class ClipEncoder(nn.Module):
    """Stable Diffusion's: the last layer of CLIP's text tower."""

    def __init__(self, parts: Parts, net: DiffusersNet) -> None:
        super().__init__()
        self.tower = Tower(parts, "")

    def forward(self, text: str | None) -> Routes:
        """Tokens (1, 77, width)."""
        return Routes(tokens=self.tower(text or "").last_hidden_state)


class TwoEncoders(nn.Module):
    """SDXL's: the layer before the last of two CLIP towers, and the pooled vector of the second."""

    def __init__(self, parts: Parts, net: DiffusersNet) -> None:
        super().__init__()
        self.towers = nn.ModuleList([Tower(parts, ""), Tower(parts, "_2")])
        self.zeros = bool(parts.index.get("force_zeros_for_empty_prompt", True))

    def forward(self, text: str | None) -> Routes:
        """Tokens (1, 77, both widths) and a vector; zeros for no text."""
        said = [tower(text or "") for tower in self.towers]
        routes = Routes(said[1].text_embeds, torch.cat([one.hidden_states[-2] for one in said], -1))
        if text is None and self.zeros:
            return Routes(*(None if part is None else torch.zeros_like(part) for part in routes))
        return routes


class ThreeEncoders(nn.Module):
    """SD3's: the two towers' tokens side by side, then T5's, or zeros where it was left out; both pooled vectors."""

    def __init__(self, parts: Parts, net: DiffusersNet) -> None:
        super().__init__()
        self.towers = nn.ModuleList([Tower(parts, ""), Tower(parts, "_2")])
        self.t5 = Tower(parts, "_3", T5_TOKENS) if parts.has("text_encoder_3") else None
        self.width = int(net.config.joint_attention_dim)

    def forward(self, text: str | None) -> Routes:
        """Tokens (1, 77 + 256, width) and a vector."""
        said = [tower(text or "") for tower in self.towers]
        tokens = torch.cat([one.hidden_states[-2] for one in said], -1)
        tokens = F.pad(tokens, (0, self.width - tokens.shape[-1]))
        further = self.t5(text or "")[0] if self.t5 else tokens.new_zeros(1, T5_TOKENS, self.width)
        return Routes(torch.cat([one.text_embeds for one in said], -1), torch.cat([tokens, further], 1))


class Tower(nn.Module):
    """One text encoder with its tokenizer: the parts ``text_encoder`` and ``tokenizer``, with a suffix."""

    def __init__(self, parts: Parts, suffix: str, length: int | None = None) -> None:
        super().__init__()
        for name in (f"text_encoder{suffix}", f"tokenizer{suffix}"):
            if not parts.has(name):
                raise UserError(f"{parts.where}: incomplete, it has no {name}, and so reads no words; load it again")
        self.tokenizer = parts.tokenizer(f"tokenizer{suffix}")
        self.model: Any = parts.module(f"text_encoder{suffix}")
        self.length = length or int(self.tokenizer.model_max_length)

    @torch.no_grad()
    def forward(self, text: str) -> Any:
        """What it says of a text, with all of its layers."""
        ids = self.tokenizer(text).input_ids
        if len(ids) > self.length:
            cut = shown(self.tokenizer.decode(ids[self.length - 1 : -1]), SHORT)
            caution(f"the text is longer than the {self.length} tokens that this model reads; cut before: {cut}")
        padded = self.tokenizer(
            text, padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        ).to(self.model.device)
        masked = getattr(self.model.config, "use_attention_mask", False)
        mask = padded.attention_mask if masked else None
        return self.model(padded.input_ids, attention_mask=mask, output_hidden_states=True)


def label_names(index: dict[str, Any], count: int) -> list[str]:
    """The names of ``count`` labels: of each the first word for it in ``id2label`` that is no other's, else its number.

    A pipeline without ``id2label`` has numbers.
    """
    said = index.get("id2label") or {}
    first = [str(said.get(str(k), k)).split(",")[0].strip() for k in range(count)]
    alike = Counter(first)
    return [name if alike[name] == 1 else f"{name} ({k})" for k, name in enumerate(first)]


def _texts(conditions: Conditions) -> list[str | None]:
    """The text of each row; None where it is absent."""
    values, present = conditions.entries[TEXT]
    rows = zip(values.tolist(), present.tolist(), strict=True)
    return [Utf8().decode([byte for byte in row if byte < 256]) if there else None for row, there in rows]


def _stacked(parts: Sequence[Tensor | None], device: torch.device) -> Tensor | None:
    there = [part.to(device) for part in parts if part is not None]
    return torch.cat(there) if there else None
