"""A text that is too large for memory is the text that it would be in memory."""

import gzip

import pytest
import torch

from undiffuse.core import shuffled as order
from undiffuse.core.errors import Caution, UserError
from undiffuse.core.on_disk import OnDisk, checksum
from undiffuse.core.shuffled import Permutation, shuffled
from undiffuse.data.alphabet import Characters, type_for
from undiffuse.data.readers import large_text
from undiffuse.data.readers.text import text
from undiffuse.train.batches import Batches

LINES = "".join(f"line {k}: drüben\r\nund 日本\r" for k in range(60))


@pytest.fixture
def large(monkeypatch, tmp_path):
    """From now on, every text is large, and read in parts of seven characters; caches lie beside."""
    monkeypatch.setenv("UNDIFFUSE_CACHE", str(tmp_path / "caches"))

    def begin():
        monkeypatch.setattr("undiffuse.data.cache.LARGE", 10)
        monkeypatch.setattr(large_text, "PART", 7)

    return begin


def written(path, encoding="utf-8"):
    opening = gzip.open if path.suffix == ".gz" else open
    with opening(path, "wb") as file:
        file.write(LINES.encode(encoding))
    return path


@pytest.mark.parametrize("unit", ["characters", "bytes"])
@pytest.mark.parametrize(
    ("name", "encoding"), [("a.txt", "utf-8"), ("a.txt", "utf-8-sig"), ("a.txt", "utf-16"), ("a.txt.gz", "utf-8")]
)
def test_a_large_text_is_the_one_in_memory(large, tmp_path, name, encoding, unit):
    path = written(tmp_path / name, encoding)
    expected = {split: text(path, 8, unit, split=split) for split in ("train", "test", "all")}
    large()
    for split, data in expected.items():
        found = text(path, 8, unit, split=split)
        assert type(found.x) is OnDisk and found.alphabet == data.alphabet
        assert torch.equal(found.x, data.x)
        for step in (0, 50):
            batches = (Batches(each, 5, 7, torch.device("cpu"))(step)[0] for each in (found, data))
            assert torch.equal(*batches)


def test_the_second_time_it_is_not_read(large, tmp_path, monkeypatch):
    path = written(tmp_path / "a.txt")
    large()
    first = text(path, 8)
    monkeypatch.setattr(large_text, "_parts", None)
    again = text(path, 16)  # the length does not matter
    assert checksum(again.x) == checksum(first.x) and again.x.shape[1] == 16
    assert checksum(text(path, 8, split="test").x) != checksum(first.x)


def test_a_changed_text_and_a_cache_that_is_cut_off_are_noticed(large, tmp_path):
    path = written(tmp_path / "a.txt")
    large()
    before = text(path, 8)
    rows = next((tmp_path / "caches").glob("*/rows"))
    rows.write_bytes(rows.read_bytes()[:-1])
    with pytest.warns(Caution, match="cut off"):
        assert torch.equal(text(path, 8).x, before.x)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.warns(Caution, match="changed"):
        assert len(text(path, 8).x) >= len(before.x)


@pytest.mark.parametrize(
    ("held", "encoding", "said"),
    [
        (b"a text that is long enough, and then \xff", "utf-8", "utf-8 text .0xff is none.; say which encoding"),
        (b"a text that is long enough, and then \0", "utf-8", "not a text file, it holds zero bytes"),
        (b"aaaaaaaaaaaaaaaaaaaaaaaa", "utf-8", "all of its 24 tokens are the same"),
        (b"                        ", "utf-8", "empty"),
        (b"a text that is long enough", "utf-9", "no encoding is called 'utf-9'"),
        (b"a text, but a short one", "utf-8", "too few for pieces of 16"),
    ],
)
def test_what_is_wrong_with_a_large_text_is_said(large, tmp_path, held, encoding, said):
    (tmp_path / "a.txt").write_bytes(held)
    large()
    with pytest.raises(UserError, match=said):
        text(tmp_path / "a.txt", 16, encoding=encoding)


def test_a_gzip_file_that_is_cut_off_is_said(large, tmp_path):
    path = written(tmp_path / "a.txt.gz")
    path.write_bytes(path.read_bytes()[:-20])
    large()
    with pytest.raises(UserError, match="damaged gzip"):
        text(path, 8)
    assert not list((tmp_path / "caches").glob("*/rows"))


def test_tokens_take_the_smallest_type():
    sizes = {2: torch.uint8, 256: torch.uint8, 257: torch.int16, 32768: torch.int16, 32769: torch.int32}
    for size, wanted in sizes.items():
        assert type_for(Characters(tuple(map(chr, range(size))))) == wanted


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 15, 16, 17, 255, 256, 1000, 4097])
def test_a_permutation_has_each_number_once(count):
    for seed in range(3):
        every = Permutation(count, seed)[:]
        assert torch.equal(every.sort().values, torch.arange(count))
        assert torch.equal(Permutation(count, seed)[count // 3 : count // 2 + 1], every[count // 3 : count // 2 + 1])


def test_a_permutation_is_as_random_as_a_list(monkeypatch):
    """Neighbours, places and seeds say nothing of one another: correlations are those of chance, 1/sqrt(count)."""
    monkeypatch.setattr(order, "LISTED", 0)
    count = 1 << 16
    places = torch.arange(count)
    x, other = (shuffled(count, seed)[:] for seed in (0, 1))
    for a, b in ((x, places), (x[1:], x[:-1]), (x, other)):
        assert abs(float(torch.corrcoef(torch.stack([a, b]).double())[0, 1])) < 4 / count**0.5
    halves = (x.reshape(64, -1) < count // 2).double().mean(1)  # of each 64th, as many are small
    assert float(halves.sub(0.5).abs().max()) < 4 * 0.5 / 32
