"""What an error about data of one's own says to type, typed: it is then trained on."""

import pytest
from PIL import Image

import undiffuse
from undiffuse.cli.arguments import columns

TINY = ["--steps", "2", "--batch", "4", "--report-every", "2", "--save-every", "2", "--sampling-steps", "2"]
SMALL = {
    "txt": ["--net.width", "16", "--net.depth", "1", "--net.heads", "2"],
    "csv": ["--net.width", "8", "--net.depth", "1"],
}
RHYME = "the cat sat on the mat, and the dög sat on the cat.\n" * 40
AGES = "name,age\n" + "".join(f"n{k % 3},{k}\n" for k in range(30)) + "n1,many\n"
MENDED = [
    ("a.txt", RHYME.encode("latin-1"), "--data.encoding latin-1"),
    ("a.txt", RHYME[:100].encode(), "--data.length 25"),
    ("a.csv", AGES.encode(), "--data.types age=category"),
]


@pytest.mark.parametrize(("name", "content", "advice"), MENDED, ids=[advice for *_, advice in MENDED])
def test_what_an_error_says_to_type_is_what_helps(run, tmp_path, name, content, advice):
    (tmp_path / name).write_bytes(content)
    for command in ("data", "train"):
        code, out, err = run(command, name)
        assert (code, out) == (1, "") and advice in err and len(err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()  # nothing half done is left behind
    code, _, err = run("train", name, *advice.split(), *SMALL[name[-3:]], *TINY, "--precision", "fp32")
    assert (code, err) == (0, "")
    field, value = advice.removeprefix("--data.").split()
    data = undiffuse.load(tmp_path / "runs" / "a").recipe.data
    assert str(getattr(data, field)) in (value, str((value,)))


def test_help_of_data_that_cannot_be_read_yet_lists_its_fields(run, tmp_path):
    (tmp_path / "a.txt").write_bytes(RHYME.encode("latin-1"))
    code, out, _ = run("train", "a.txt", "--help")
    assert code == 0 and "--data.encoding" in out


@pytest.mark.parametrize(("symbols", "unit"), [(256, "characters"), (257, "bytes")])
@pytest.mark.parametrize("times", [1, 4])  # once is too few for pieces of the usual length
def test_a_text_of_more_characters_than_bytes_is_bytes(tmp_path, symbols, unit, times):
    from undiffuse.recipes import own_data

    (tmp_path / "a.txt").write_text("".join(chr(0x4E00 + k) for k in range(symbols)) * times, encoding="utf-8")
    assert own_data(tmp_path / "a.txt").data.unit == unit


def test_a_folder_whose_name_is_nearly_right_is_named(run, tmp_path):
    (tmp_path / "my-pictures").mkdir()
    code, _, err = run("train", "my-picture")
    assert code == 2 and "but there is my-pictures" in err


@pytest.mark.parametrize(
    "text", ['city="New York, NY",age=30', '"city=New York, NY",age=30', 'age=30, city="New York, NY"']
)
def test_a_value_with_a_comma_is_quoted(text):
    assert columns(text) == {"city": "New York, NY", "age": "30"}


def test_a_picture_that_cannot_be_read_may_be_left_out(run, tmp_path):
    (tmp_path / "mine").mkdir()
    for k in range(8):
        Image.new("L", (8, 8), 30 * k).save(tmp_path / "mine" / f"{k}.png")
    (tmp_path / "mine" / "bad.png").write_bytes(b"no picture")
    for command in ("data", "train"):
        code, _, err = run(command, "mine")
        assert code == 1 and "--data.skip-unreadable true" in err
    code, _, err = run("train", "mine", "--data.skip-unreadable", "true", "--net.width", "8", *TINY)
    assert (code, err) == (0, "")


def test_what_is_not_there_is_said_before_all_else(run):
    for name in ("nothing.txt", "nothing.csv"):
        code, _, err = run("train", name, "--help")
        assert code == 1 and name in err


def test_the_network_is_chosen_for_the_size_that_pictures_are_read_at(run, tmp_path):
    """30 pixels are folded by twos, as 64 are not."""
    (tmp_path / "big").mkdir()
    for k in range(8):
        Image.new("L", (64, 64), 30 * k).save(tmp_path / "big" / f"{k}.png")
    small = ["--net.inner.width", "8", "--net.inner.groups", "4", "--net.inner.embedding", "8"]
    code, _, err = run("train", "big", "--data.size", "30", *small, *TINY)
    assert (code, err) == (0, "")
    recipe = undiffuse.load(tmp_path / "runs" / "big").recipe
    assert recipe.model.net.patch == (2, 2) and recipe.data.size == 30
