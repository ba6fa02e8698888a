"""Captions of one's own pictures: from .txt files, tables, Hugging Face's folders and parquet."""

import json

import pytest
import torch
from PIL import Image

from undiffuse.core.errors import UserError
from undiffuse.data.own import Files
from undiffuse.data.readers.open import open_data

TEXTS = ["a red thing", "something blue", "a green one, and more", "all black"]


def folder_of(tmp_path, count=4):
    """Small pictures: k.png, whose first pixel is k."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for k in range(count):
        Image.new("RGB", (8, 8), (k, 7 * k, 99)).save(folder / f"{k}.png")
    return folder


def told(data):
    """The captions of each picture, by its first pixel."""
    of, entry = data.specifications["text"], data.conditions.entries["text"]
    others = data.conditions.variants.get("text")
    several = entry.values[:, None] if others is None else torch.cat([entry.values[:, None], others], 1)
    return {
        int(x[0, 0, 0]): [of.say(row) for row in rows] if present else []
        for x, rows, present in zip(data.x, several, entry.present, strict=True)
    }


def own(folder):
    for k, text in enumerate(TEXTS):
        (folder / f"{k}.txt").write_text(f"{text}\n\n  the second of {k}\n" if k < 2 else text)


def table(folder, name="captions.csv", columns="file,caption"):
    rows = [f'"{k}.png","{text}"' for k, text in enumerate(TEXTS)] + ["0.png,the second of 0", "1.png,the second of 1"]
    (folder / name).write_text("\n".join([columns, *rows]))


def lines(folder):
    rows = [{"file_name": f"{k}.png", "text": text} for k, text in enumerate(TEXTS)]
    rows[0]["text"], rows[1]["text"] = ([text, f"the second of {k}"] for k, text in enumerate(TEXTS[:2]))
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")


def metadata(folder):
    table(folder, "metadata.csv", "file_name,text")


@pytest.mark.parametrize("write", [own, table, lines, metadata])
def test_captions_beside_pictures(write, tmp_path):
    folder = folder_of(tmp_path)
    write(folder)
    data = open_data(folder, split="all")
    found = told(data)
    assert {k: list(dict.fromkeys(texts)) for k, texts in found.items()} == {
        k: [text, f"the second of {k}"] if k < 2 else [text] for k, text in enumerate(TEXTS)
    }
    assert data.notes == ()


def test_a_folder_of_splits_with_a_file_in_each(tmp_path):
    for split, of in (("train", range(3)), ("test", range(3, 6))):
        (tmp_path / split).mkdir()
        for k in of:
            Image.new("RGB", (8, 8), (k, 0, 0)).save(tmp_path / split / f"{k % 3}.png")
        rows = [{"file_name": f"{k % 3}.png", "text": f"number {k}"} for k in of]
        (tmp_path / split / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert told(open_data(tmp_path, split="test")) == {k: [f"number {k}"] for k in (3, 4, 5)}
    train, test = (open_data(tmp_path, split=split) for split in ("train", "test"))
    assert train.specifications == test.specifications


def test_captions_and_labels_and_numbers_together(tmp_path):
    folder = tmp_path / "mine"
    for k in range(6):
        (folder / f"kind{k % 2}").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (k, 0, 0)).save(folder / f"kind{k % 2}" / f"{k}.png")
        (folder / f"kind{k % 2}" / f"{k}.txt").write_text(f"picture {k}")
    (folder / "conditions.csv").write_text("file,age\n" + "\n".join(f"{k}.png,{k}.5" for k in range(6)))
    data = open_data(folder, split="all")
    assert set(data.specifications) == {"label", "age", "text"}
    assert told(data) == {k: [f"picture {k}"] for k in range(6)}


def test_pictures_without_a_caption_and_captions_without_a_picture_are_said(tmp_path):
    folder = folder_of(tmp_path)
    (folder / "captions.csv").write_text("file,caption\n0.png,one\n1.png,two\nlost.png,three\n2.png,\n")
    data = open_data(folder, split="all")
    assert told(data) == {0: ["one"], 1: ["two"], 2: [], 3: []}
    assert data.notes == (
        "captions.csv names 1 pictures that are not there, such as lost.png: left out",
        "2 pictures have no caption, such as 2.png: without words",
    )


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("captions.csv", "file,age\n0.png,3\n", "call that of the captions caption"),
        ("captions.csv", "file,caption\nno.png,three\n", "names no picture of the folder; 'no.png' is not there"),
        ("captions.csv", "file,caption\n0.png,\n1.png, \n", "no caption in its captions.csv, or only empty"),
        ("metadata.jsonl", '{"file_name": "0.png", "text": 3}\n', "line 1: needs a file_name and a text"),
        ("metadata.jsonl", '{"file_name": "0.png", "text"\n', "line 1: not JSON"),
        ("metadata.jsonl", "[1]\n", "line 1: not an object"),
        ("0.txt", "  \n", "no caption in its .txt files"),
    ],
)
def test_files_of_captions_that_are_none(name, text, wrong, tmp_path):
    folder = folder_of(tmp_path)
    (folder / name).write_text(text)
    with pytest.raises(UserError, match=wrong):
        open_data(folder)


def test_captions_in_two_ways_are_refused(tmp_path):
    folder = folder_of(tmp_path)
    own(folder)
    lines(folder)
    with pytest.raises(UserError, match=r"in metadata.jsonl and .txt files; keep one"):
        open_data(folder)


def test_a_column_of_parquet(tmp_path):
    datasets = pytest.importorskip("datasets")
    folder = folder_of(tmp_path)
    rows = {"image": [str(folder / f"{k}.png") for k in range(4)], "text": [[text, "more"] for text in TEXTS]}
    rows["title"] = TEXTS
    table = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    table.to_parquet(tmp_path / "rows.parquet")
    assert told(Files(str(tmp_path / "rows.parquet")).open("train"))[0] == ["a red thing", "more"]
    from undiffuse.data.own import Hub

    assert told(Hub(str(tmp_path / "rows.parquet"), caption="title").open("all")) == {
        k: [t] for k, t in enumerate(TEXTS)
    }
    with pytest.raises(UserError, match="unknown column 'titel'; did you mean title"):
        Hub(str(tmp_path / "rows.parquet"), caption="titel").open()
