"""Documents with labels: a folder of text files, cut label by label, whose label guides what is drawn."""

import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.data.own import TextFile
from undiffuse.data.readers.documents import documents, is_documents
from undiffuse.evaluate.bits import token_bits
from undiffuse.net.token_transformer import TokenTransformer
from undiffuse.recipes import own_data
from undiffuse.train.loop import train

TEXTS = {"vowels/one.txt": "aeiou" * 60, "vowels/two.md": "aeiou" * 60, "consonants/one.txt": "bcdfg" * 120}


@pytest.fixture
def folder(tmp_path):
    for name, text in TEXTS.items():
        file = tmp_path / "texts" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "texts"


@pytest.mark.parametrize("split", ["train", "test", "all"])
def test_pieces_have_the_label_of_their_folder(folder, split):
    data = TextFile(str(folder), length=10).open(split)
    names = data.label_names
    assert names == ("consonants", "vowels") and data.kind == "text" and data.shape == (10,)
    for row, label in zip(data.x, data.labels, strict=True):
        assert set(data.alphabet.decode(row)) <= set({"vowels": "aeiou", "consonants": "bcdfg"}[names[label]])
    assert set(data.labels.tolist()) == {0, 1}


def test_files_that_lie_in_no_folder_are_labels_themselves(tmp_path):
    for name in ("ham.txt", "spam.txt"):
        (tmp_path / name).write_text(f"{name} is here. " * 30)
    assert documents(tmp_path, 8, "characters", None).label_names == ("ham", "spam")


def test_what_is_drawn_has_the_label_that_is_asked_for(folder, tmp_path, run):
    recipe = own_data(folder, {"length": "10"}).changed(
        net=TokenTransformer(16, 1, 2, time=False), steps=60, batch=32, lr=1e-2, precision="fp32", report_every=60
    )
    made = train(recipe, tmp_path / "run", quiet=True)
    x = made.sample(20, label="vowels", guidance=2.0)
    text = "".join(made.codec.alphabet.decode(row) for row in x)
    assert sum(letter in "aeiou" for letter in text) > 0.9 * len(text)
    assert token_bits(made, made.dataset("test")).mean < 3.0
    code, _, _ = run("sample", made.folder, "-n", "1", "--label", "consonants", "--out", "one.txt")
    assert code == 0
    code, _, complaint = run("sample", made.folder, "-n", "1", "--label", "poems", "--out", "two.txt")
    assert code == 2 and "poems" in complaint


def test_what_is_no_folder_of_documents_is_said(tmp_path):
    (tmp_path / "one.txt").write_text("only this. " * 30)
    assert is_documents(tmp_path)
    with pytest.raises(UserError, match="one label, one; for a single text give its file"):
        documents(tmp_path, 8, "characters", None)
    (tmp_path / "picture.png").write_bytes(b"")
    assert not is_documents(tmp_path) and not is_documents(tmp_path / "one.txt")
    with pytest.raises(UserError, match="at least 1 token, not 0"):
        documents(tmp_path, 0, "characters", None)
    assert torch.is_tensor(TextFile(str(tmp_path / "one.txt"), length=8).open().x)
