"""What every codec is: a module between data as it is stored and as it diffuses, which travels in the model's file.

    encode(x) = latent(precompute(x))          decode(z)

``precompute`` is what training needs to compute only once for each row; ``latent`` draws from it what diffuses, with
new noise each time. Most codecs precompute nothing.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from undiffuse.core.configuration import kebab
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.data.dataset import FORMS


class Entries(NamedTuple):
    """What is known of data that diffuses."""

    x_0: Tensor  # (batch, *latent_shape); what it holds where nothing is known does not matter
    known: Tensor  # (batch, *latent_shape) bool
    ruled_out: Tensor | None = None  # (batch, tokens, classes) bool: classes that a token is known not to be


class Encoding:
    """A recipe's description of a codec.

    Attributes:
        kinds: Of data, by name, that it encodes: by default those whose rows are numbers and nothing besides.
    """

    kinds: ClassVar[tuple[str, ...]] = tuple(kind for kind, form in FORMS.items() if form.stored and not form.needs)

    def check_kind(self, kind: str) -> None:
        """Raises UserError for data of a kind that it does not encode."""
        if kind not in self.kinds:
            name, known = kebab(type(self).__name__), " or ".join(self.kinds)
            raise UserError(f"the codec {name} encodes {known}, not {kind}; leave --codec and --net as they are")


class Codec(nn.Module, ABC):
    """Between data as it is stored and data as it diffuses.

    Attributes:
        kind: Of the data, by name.
        shape: Of one row as it is stored.
        draws_label: Whether the labels also diffuse.
        in_place: Whether every number that diffuses is one of the data's, standardised, in its place.
        quantised: Whether the data is whole numbers from 0 to 255.
        encoded_once: Whether encoding is slow, so that it is done once for a whole training.
        no_likelihood: Why a likelihood of what diffuses is not one of the data; empty if it is.
    """

    kind: str
    shape: tuple[int, ...]
    draws_label: bool = False
    in_place: bool = False
    quantised: bool = False
    encoded_once: bool = False
    no_likelihood: str = "what diffuses is a latent, whose likelihood is not that of the data"

    @property
    def of_bytes(self) -> bool:
        """Whether rows are stored as bytes, whatever diffuses."""
        return self.quantised

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Of one row as it diffuses: the data's own."""
        return self.shape

    @abstractmethod
    def encode(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """(batch, *shape) as it is stored to (batch, *latent_shape); random by ``noise``, or else torch's generator."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Back to data as it is stored, (batch, *shape)."""

    def precompute(self, x: Tensor) -> Tensor:
        """The part of encoding that is done only once for each row, (batch, ...). By default none: it returns x."""
        return x

    def latent(self, precomputed: Tensor, noise: Noise | None = None) -> Tensor:
        """What diffuses, (batch, *latent_shape)."""
        return self.encode(precomputed, noise)

    def entries(self, x: Tensor, known: Tensor, noise: Noise, complete: bool = False) -> Entries:
        """The known entries of what diffuses; ``known`` (batch, *shape) bool marks those of the data as it is stored.

        With ``complete``, no drawn cell may be missing. Raises UserError if a latent diffuses, because its entries are
        not those of the data.
        """
        raise UserError(f"what diffuses is a latent of the {self.kind}: no part of them can be given; train without it")

    def affine(self) -> tuple[Tensor, Tensor]:
        """(mean, std) of x = mean + std z, as they broadcast to x. Raises UserError if a latent diffuses."""
        raise UserError(f"what diffuses is a latent of the {self.kind}, not their numbers; train without it")

    def of_start(self) -> "Codec":
        """The codec of what a bridge starts from. Raises UserError for a codec of one data set."""
        raise UserError("a bridge standardises both of its ends: --codec two-ends")

    def facts(self) -> str | None:
        """What an empty codec of this type needs besides the shape, as JSON; None if nothing."""
        return None

    def label(self, z: Tensor) -> Tensor | None:
        """The labels that were drawn with the data, (batch,) int64; None where none are."""
        return None
