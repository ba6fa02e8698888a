"""The codec of a bridge: each of its two data sets has mean 0 and standard deviation 1, by itself."""

import json
from dataclasses import dataclass

from undiffuse.codec.codec import Encoding
from undiffuse.codec.normalise import Normalise
from undiffuse.core.configuration import from_json
from undiffuse.data.dataset import Dataset


class EndsCodec(Normalise):
    """The codec of what a bridge makes.

    Attributes:
        start: The codec of what it starts from; if that is noise, the identity.
    """

    def __init__(self, kind: str, shape: tuple[int, ...], quantised: bool | None, start_quantised: bool | None) -> None:
        super().__init__(kind, shape, quantised)
        self.start = Normalise(kind, shape, start_quantised)

    def of_start(self) -> Normalise:
        """The codec of the start."""
        return self.start

    def facts(self) -> str:
        """Whether each end is quantised, as JSON."""
        return json.dumps({"quantised": self.quantised, "start": self.start.quantised})


@dataclass(frozen=True)
class TwoEnds(Encoding):
    """Both ends of a bridge, each of mean 0 and standard deviation 1."""

    def build(self, kind: str, shape: tuple[int, ...], facts: str | None = None) -> EndsCodec:
        """The codec, not yet measured. Raises UserError for data that no bridge joins."""
        self.check_kind(kind)
        told = from_json(dict[str, bool], facts or "{}", "codec")
        return EndsCodec(kind, shape, told.get("quantised"), told.get("start"))

    def measure(self, data: Dataset) -> EndsCodec:
        """The codec of both data sets."""
        end = Normalise.measure(data)
        start = Normalise.measure(data.start) if data.start else Normalise(data.kind, data.shape, quantised=False)
        codec = EndsCodec(data.kind, data.shape, end.quantised, start.quantised)
        codec.load_state_dict(end.state_dict() | {f"start.{name}": x for name, x in start.state_dict().items()})
        return codec
