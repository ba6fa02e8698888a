"""Text in and out of tokens, and texts that are none."""

import gzip

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from undiffuse.core.configuration import from_values, to_values
from undiffuse.core.errors import UserError
from undiffuse.data.alphabet import Alphabet, Bytes, Characters
from undiffuse.data.dataset import Dataset
from undiffuse.data.readers.text import text

RHYME = "the cat sat on the mat, and the dög sat on the cat.\r\n" * 40


@given(st.text(min_size=1))
def test_alphabets_lose_nothing(words):
    for alphabet in (Characters.of(words), Bytes()) if max(words) < "\ud800" or min(words) > "\udfff" else ():
        assert alphabet.decode(alphabet.encode(words)) == words
        assert from_values(Alphabet, to_values(alphabet)) == alphabet
        assert int(alphabet.encode(words).max()) < alphabet.size


def test_a_character_that_is_not_known_is_named_with_those_that_are():
    with pytest.raises(UserError, match="'z' is not known; this text has 3 characters: 'abc'"):
        Characters.of("cab").encode("cabz")


def test_bytes_that_are_no_text_are_shown_as_such():
    assert Bytes().decode(torch.tensor([72, 105, 255])) == "Hi\ufffd"


@pytest.mark.parametrize("unit", ["characters", "bytes"])
def test_pieces_of_a_text(tmp_path, unit):
    file = tmp_path / "rhyme.txt.gz"
    file.write_bytes(gzip.compress(RHYME.encode()))
    train, test = (text(file, 32, unit, split=split) for split in ("train", "test"))
    whole = RHYME.replace("\r\n", "\n")
    assert train.alphabet == test.alphabet and train.shape == (32,) and train.kind == "text"
    assert train.alphabet.decode(train.x[1]) == train.alphabet.decode(train.alphabet.encode(whole)[4:36])  # overlap
    held_out = "".join(test.alphabet.decode(row) for row in test.x)
    kept = len(train.alphabet.encode(whole)) - round(0.1 * len(train.alphabet.encode(whole)))
    assert train.alphabet.decode(train.alphabet.encode(whole)[kept:]).startswith(held_out)


def test_other_encodings_are_asked_for_and_read(tmp_path):
    file = tmp_path / "old.txt"
    file.write_bytes(RHYME.encode("latin-1"))
    with pytest.raises(UserError, match=r"no utf-8 text \(byte 33: 0xf6\); say which encoding"):
        text(file, 16)
    assert "ö" in text(file, 16, encoding="latin-1").alphabet.symbols
    with pytest.raises(UserError, match="no encoding is called 'latin-99'"):
        text(file, 16, encoding="latin-99")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_known_by_its_mark(tmp_path, encoding):
    file = tmp_path / "wide.txt"
    file.write_bytes(("\ufeff" + RHYME).encode(encoding))
    found, plain = text(file, 16), text(file, 16, encoding="utf-16")
    assert torch.equal(found.x, plain.x) and found.alphabet == Characters.of(RHYME.replace("\r", ""))
    assert found.notes == (*plain.notes, "read as UTF-16, as its first bytes say")
    file.write_bytes(("\ufeff" + RHYME).encode(encoding)[:-1])
    with pytest.raises(UserError, match="damaged, or not text in UTF-16"):
        text(file, 16)


@given(st.text("ab", min_size=4, max_size=70))
def test_what_is_said_of_a_short_text_can_be_done(tmp_path_factory, words):
    file = tmp_path_factory.getbasetemp() / "short.txt"
    file.write_text("ab" + words + "ba" * len(words))  # neither part is of one letter alone
    with pytest.raises(UserError, match=r"shorter pieces: --data\.length \d+$") as caught:
        text(file, 128)
    length = int(str(caught.value).rpartition(" ")[2])
    assert text(file, length).shape == (length,)
    with pytest.raises(UserError, match=f"--data.length {length}"):
        text(file, length + 1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b" \n \n", "empty"),
        ("\ufeff".encode("utf-16-le"), "empty"),
        (b"ab", "at least 64 are needed$"),
        (b"aaaa" * 100, "all of its 400 tokens are the same"),
        (bytes(range(256)) * 4, "not a text file"),
        (b"a\0b" * 100, "zero bytes"),
        (b"too short", "at least 64 are needed"),
    ],
)
def test_texts_that_are_none(tmp_path, content, says):
    file = tmp_path / "bad.txt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=says):
        text(file, 16)


def test_tokens_out_of_range():
    with pytest.raises(UserError, match="tokens run from 0 to 5; 3 characters: 'abc' allow 0 to 2"):
        Dataset(torch.tensor([[0, 5], [1, 1]], dtype=torch.uint8), kind="text", alphabet=Characters.of("abc"))
    with pytest.raises(UserError, match="its alphabet do not go together"):
        Dataset(torch.tensor([[0, 1], [1, 1]], dtype=torch.uint8), kind="text")
