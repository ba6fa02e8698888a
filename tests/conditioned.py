"""A network with the encoder that a denoiser has, for tests that ask it for labels at a noise level."""

import torch
from torch import nn

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.encoder import Encoder
from undiffuse.condition.specification import Labels
from undiffuse.denoiser.mixed import MixedDenoiser
from undiffuse.denoiser.prediction import V


def labels(label=None, **named):
    """Conditions of labels (batch,), -1 for absent: called label, or by name."""
    given = named if label is None else {"label": torch.as_tensor(label)} | named
    return Conditions({name: Entry(label.clamp(min=0), label >= 0) for name, label in given.items()})


def specified(classes):
    """The specification of so many labels; of none."""
    return {"label": Labels(tuple(map(str, range(classes))))} if classes else {}


class Conditioned(nn.Module):
    """net(x, log_snr, label), label (batch,) with -1 for absent, or None."""

    def __init__(self, encoder, net):
        super().__init__()
        self.encoder, self.net = encoder, net

    def forward(self, x, log_snr, label=None):
        return self.net(x, self.encoder(log_snr, None if label is None else labels(label)))


def built(design, shape, classes=0, specifications=None, level=True, **more):
    """A network as a recipe builds it, drawn from torch's seed."""
    encoder = Encoder(specified(classes) if specifications is None else specifications, design.vector, level)
    return Conditioned(encoder, design.build(shape, routes=encoder.widths, **more))


def mixed(design, shape, process, specifications=None):
    """A denoiser of rows as a recipe builds it, of v; conditions that its shape draws are not asked for."""
    asked = {name: one for name, one in (specifications or {}).items() if name not in shape.drawn}
    encoder = Encoder(asked, design.vector)
    return MixedDenoiser(design.build(shape, encoder.widths), process, V(), encoder, shape.drawn)
