"""Letters that write sentences: layout, frames, and what cannot be written."""

import os
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from undiffuse.cli import main
from undiffuse.core.errors import UserError
from undiffuse.data.own import Files
from undiffuse.data.readers.letters import SHAPES, deformed, letters
from undiffuse.kind.write import lines, pages, spelled
from undiffuse.net import UNet
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.recipes import RECIPES
from undiffuse.run.run import Run
from undiffuse.sampling.sampling import Sampling
from undiffuse.train.loop import train

DATA = os.environ.get("UNDIFFUSE_TEST_DATA")
needs_letters = pytest.mark.skipif(not DATA, reason="UNDIFFUSE_TEST_DATA names no folder of data sets")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Digits that have hardly learnt anything: they are asked for by one character each."""
    recipe = RECIPES["digits"]().changed(net=UNet(width=8, embedding=8), steps=3, batch=8, sampling_steps=4)
    return train(recipe, tmp_path_factory.mktemp("runs") / "digits", quiet=True)


def test_lines_break_where_they_are_told_between_words_and_within_long_ones():
    assert lines("HELLO WORLD") == ["HELLO WORLD"]
    assert lines("HELLO WORLD", 5) == ["HELLO", "WORLD"]
    assert lines("A\\nB\nC D") == ["A", "B", "C D"]
    assert lines("ABCDEFG", 3) == ["ABC", "DEF", "G"]
    assert lines("A\n\nB") == ["A", "", "B"]
    for nothing in ("", "  ", "\n"):
        with pytest.raises(UserError, match="nothing to write"):
            lines(nothing)


def test_letters_are_found_in_either_case_and_unknown_ones_are_named_with_those_known():
    names = ("A", "B", "a")
    assert spelled(["Aa", "b"], names) == [0, 2, 1]
    with pytest.raises(UserError, match="cannot write ! Z; it can write A B a and spaces"):
        spelled(["A! Z"], names)


def test_every_kind_of_space_is_a_space_and_what_cannot_be_seen_is_spelled_out():
    assert lines("A\u00a0B\u2009C") == ["A B C"] and spelled(lines("A\u00a0B"), ("A", "B")) == [0, 1]
    with pytest.raises(UserError, match=r"cannot write '\\u200b'; it can write A B and spaces"):
        spelled(["A\u200b"], ("A", "B"))


def test_pictures_that_are_neither_gray_nor_colour_are_no_letters(tmp_path):
    np.savez(tmp_path / "two.npz", x=np.random.randint(0, 256, (40, 2, 8, 8), np.uint8), y=np.arange(40) % 2)
    recipe = Recipe(
        Files(str(tmp_path / "two.npz")),
        GaussianDiffusion(UNet(width=8, embedding=8)),
        training=Training(steps=1, batch=4),
        sampling=Sampling(steps=1),
    )
    with pytest.raises(UserError, match="letters are pictures of 1 channel or 3"):
        next(pages(train(recipe, tmp_path / "run", quiet=True), ["10"]))


def test_every_line_has_a_page_for_every_state(run):
    made = list(pages(run, ["20 6", "", "7"], run.sampling.override(steps=4)))
    assert [page.finished for page in made] == ([False] * 4 + [True]) * 2
    assert len({page.image.size for page in made}) == 1
    first_line, all_lines = made[4].image, made[9].image
    top = (0, 30, 80, first_line.height // 2 - 20)
    assert first_line.crop(top).tobytes() == all_lines.crop(top).tobytes()
    assert first_line.tobytes() != all_lines.tobytes()


def test_the_same_letter_is_drawn_anew_and_the_same_seed_again(run):
    one, other = (list(pages(run, ["33"], run.sampling.override(steps=4, seed=5)))[-1].image for _ in range(2))
    assert one.tobytes() == other.tobytes()
    width, height = 48, 48
    left = one.crop((12, 28, 12 + width, 28 + height))
    right = one.crop((12 + width, 28, 12 + 2 * width, 28 + height))
    assert left.tobytes() != right.tobytes()


def test_a_film_holds_every_finished_line_for_twenty_frames(run, tmp_path, capsys):
    film = tmp_path / "year.gif"
    assert main(["write", "2026\\n11", str(run.folder), "--steps", "4", "--out", str(film)]) == 0
    assert "6 letters on 2 lines" in capsys.readouterr().out
    with Image.open(film) as gif:
        durations = []
        for frame in range(gif.n_frames):
            gif.seek(frame)
            durations.append(gif.info["duration"])
    assert durations == [80] * 4 + [1600] + [80] * 4 + [1600]
    assert main(["write", "2026", str(run.folder), "--out", str(film)]) == 1  # is there already


def test_a_picture_is_the_last_page(run, tmp_path):
    file = tmp_path / "year.png"
    assert main(["write", "20", str(run.folder), "--steps", "4", "--out", str(file)]) == 0
    *_, last = pages(run, ["20"], run.sampling.override(steps=4))
    with Image.open(file) as image:
        assert image.convert("RGB").tobytes() == last.image.tobytes()


def test_what_cannot_be_written_is_said_in_one_line(run, tmp_path, capsys):
    assert main(["write", "HELLO 2", str(run.folder), "--out", str(tmp_path / "a.gif")]) == 1
    error = capsys.readouterr().err
    assert "cannot write E H L O; it can write 0 1 2 3 4 5 6 7 8 9 and spaces" in error and error.count("\n") == 1
    assert not (tmp_path / "a.gif").exists()


def write_emnist(folder, mapping: str, count: int = 6) -> None:
    """A set of ``count`` labels, 1, 2, ..., as EMNIST has it."""
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        x, y = rng.integers(0, 256, (4 * count, 28, 28), np.uint8), np.arange(4 * count, dtype=np.uint8) % count + 1
        for what, array in (("images-idx3", x), ("labels-idx1", y)):
            head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            (folder / f"emnist-letters-{part}-{what}-ubyte").write_bytes(head + array.tobytes())
    (folder / "emnist-letters-mapping.txt").write_text(mapping)


def test_emnists_letters_are_called_by_one_character(tmp_path):
    write_emnist(tmp_path, "".join(f"{k} {64 + k} {96 + k}\n" for k in range(1, 7)))
    for split in ("train", "test"):
        assert letters(str(tmp_path), split=split).label_names == tuple("ABCDEF")
    assert spelled(["BAD Cafe"], tuple("ABCDEF")) == [1, 0, 3, 2, 0, 5, 4]


def test_names_stay_whole_where_their_first_characters_do_not_tell_them_apart(tmp_path):
    write_emnist(tmp_path, "1 65 97\n2 65 98\n3 67\n", count=3)
    assert letters(str(tmp_path)).label_names == ("Aa", "Ab", "C")


@pytest.mark.parametrize("kept", [100, 1000])
def test_letters_that_are_damaged_are_named(tmp_path, kept):
    file = tmp_path / "chars74k_hnd.npz"
    np.savez_compressed(file, x64=np.random.randint(0, 256, (9, 64, 64), np.uint8), y=np.arange(9))
    with pytest.raises(UserError, match="not Chars74K's letters, without 'writer'"):
        letters(str(tmp_path))
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"chars74k_hnd.npz: truncated"):
        letters(str(tmp_path))


@needs_letters
def test_letters_are_held_out_by_writer_and_deformed_for_training_alone():
    train_part, test_part, everything = letters(copies=1), letters(split="test"), letters(split="all")
    assert len(train_part) + len(test_part) == len(everything) == 55 * len(SHAPES)
    assert len(test_part) == 11 * len(SHAPES) and train_part.label_names == tuple(SHAPES)
    rows = {row.numpy().tobytes() for row in test_part.x}
    assert not rows & {row.numpy().tobytes() for row in train_part.x}
    thrice = letters(copies=3)
    assert len(thrice) == 3 * len(train_part) and torch.equal(thrice.labels, train_part.labels.repeat(3))
    assert torch.equal(thrice.x, letters(copies=3).x) and not torch.equal(thrice.x, letters(copies=3, seed=1).x)


def test_a_deformed_letter_is_still_near_itself():
    x = torch.zeros(1, 64, 64, dtype=torch.uint8)
    x[:, 12:52, 28:36] = 255
    bent = deformed(x, copies=50, seed=0).float()
    assert bent.shape == (50, 1, 28, 28)
    ink = bent.mean() / x.float().mean()
    assert 0.8 < float(ink) < 1.2 and len({row.numpy().tobytes() for row in bent}) == 50


def test_letters_that_are_not_there_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("UNDIFFUSE_TEST_DATA", raising=False)
    monkeypatch.delenv("UNDIFFUSE_DATA", raising=False)
    with pytest.raises(UserError, match=r"letters is missing: get EMNIST .* UNDIFFUSE_DATA"):
        letters()
    with pytest.raises(UserError, match="holds neither IDX files nor chars74k_hnd"):
        letters(str(tmp_path))
