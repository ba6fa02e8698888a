"""Data sets that everybody knows, by their names: where they lie, and what their labels are called."""

from dataclasses import replace

from undiffuse.condition.label import specifications_of
from undiffuse.core.errors import UserError, nearest
from undiffuse.data.dataset import Dataset
from undiffuse.data.readers.open import open_data
from undiffuse.data.readers.place import place
from undiffuse.data.readers.planes import are_planes, planes

IDX = "get train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz and the two files of t10k"
ADVICE = {
    "mnist": f"{IDX} (ossci-datasets.s3.amazonaws.com/mnist)",
    "fashion-mnist": f"{IDX} (github.com/zalandoresearch/fashion-mnist, data/fashion)",
    "cifar10": "get cifar-10-binary.tar.gz (cs.toronto.edu/~kriz/cifar.html) and unpack it",
}
FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def known(name: str, path: str | None = None, split: str = "train") -> Dataset:
    """``"mnist"``, ``"fashion-mnist"`` or ``"cifar10"``, from ``path`` or a folder of data sets (`place`).

    CIFAR-10 is read in its binary form (data_batch_1.bin, ...), never the pickled one, or packed (`planes`).

    Raises:
        UserError: An unknown name; not at hand, with where to get it; files that are missing or damaged.
    """
    if name not in ADVICE:
        raise UserError(nearest(name, ADVICE, "data set"))
    folder = place(name.replace("-", "_"), path, ADVICE[name])
    if folder.is_dir() and (folder / "data_batch_1").is_file():
        raise UserError(f"{folder}: CIFAR-10's pickled form, which could run any program; {ADVICE[name]}")
    if folder.is_dir() and are_planes(folder):
        return planes(folder, split)
    data = open_data(folder, split=split)
    names = FASHION if name == "fashion-mnist" and len(data.label_names) == len(FASHION) else data.label_names
    return replace(data, specifications=specifications_of(names), name=name)
