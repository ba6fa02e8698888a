"""What comes from outside is checked where it enters: metadata, paths, folders, counts; what is shown is escaped."""

import json

import pytest
import torch

from undiffuse.codec import Standard
from undiffuse.condition.specification import Labels, Numbers
from undiffuse.core import memory, paths
from undiffuse.core.configuration import from_json, from_texts, to_texts
from undiffuse.core.errors import LONG, UserError, nearest, shown
from undiffuse.core.memory import ASIDE, require, within_file, within_memory
from undiffuse.core.paths import path_of, walk
from undiffuse.run.folder import Facts
from undiffuse.sampling.grid import GRIDS, MOST

AGE = Numbers(("age",), (3.0,), (1.0,), (0.0,), (9.0,))
FACTS = Facts("points", (2,), ("x", "y"), 10, 1.5, None, {"label": Labels(("a", "b")), "age": AGE})
DAMAGED = {
    "shape": ["", "2", "[2.5]", "[0]", "[-1]", "[]", "{}", "null", "[[2]]", f"[{2**62}, {2**62}]", "[" * 100_000],
    "kind": ["", "pictures", "lines", "[]"],
    "conditions": ["3", "[]", "a", '{"a": []}', '{"a": {"kind": "Labels"}}', '{"a": {"kind": "Labels", "names": []}}'],
    "columns": ['["x"]', "xy", '[["x"], "y"]'],
    "step": ["", "-1", "1.5", "true", "1e400", "9" * 5000],
    "seconds": ["-1", "NaN", "Infinity", "soon", "[]"],
}


def test_facts_come_back_as_they_were():
    several = Facts("pictures", (1, 8, 8), (), 0, 0.0, '{"classes": 2}', {})
    for facts in (FACTS, several):
        assert from_texts(Facts, to_texts(facts), "a file") == facts


@pytest.mark.parametrize(("field", "text"), [(field, text) for field, texts in DAMAGED.items() for text in texts])
def test_damaged_facts_are_said_with_the_name_of_the_file(field, text):
    with pytest.raises(UserError, match=r"^a file"):
        from_texts(Facts, to_texts(FACTS) | {field: text}, "a file")


def test_a_sample_beyond_all_bounds_is_refused_before_a_codec_is_made_of_its_shape():
    with pytest.raises(UserError, match="a sample at most"):
        from_texts(Facts, to_texts(FACTS) | {"shape": f"[{2 * 10**9}]", "columns": "[]"}, "a file")


@pytest.mark.parametrize("field", DAMAGED)
def test_a_missing_fact_is_said(field):
    texts = to_texts(FACTS)
    del texts[field]
    if field == "conditions":  # of older files, which may have labels
        old = from_texts(Facts, texts | {"label_names": '["a", "b"]'}, "a file")
        assert old.specifications == {"label": Labels(("a", "b"))}
        return
    with pytest.raises(UserError, match=f"a file: .*{field}"):
        from_texts(Facts, texts, "a file")


def test_json_is_read_by_its_type():
    assert from_json(dict[str, tuple[int, ...]], '{"a": [1, 2]}', "a file") == {"a": (1, 2)}
    for text in ('{"a": [1, "x"]}', '{"a": 1}', "[1]", "{", json.dumps({"a": [2**70]})):
        with pytest.raises(UserError, match=r"^a file: "):
            from_json(dict[str, tuple[int, ...]], text, "a file")


def test_nothing_shown_moves_the_cursor():
    assert shown("a name, é and 日本") == "a name, é and 日本"
    assert shown("\x1b[31m\r\n\u202e\ud800") == r"\x1b[31m\r\n\u202e\ud800"
    assert len(shown("x" * 100_000)) < LONG + 50
    assert "\x1b" not in nearest("\x1b", ["escape\x1b"])


def test_a_path_that_no_file_should_have_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path_of("~/x") == tmp_path / "x"
    for text in ("~undiffuse-nobody/x", "\udcff", "a\0b"):
        with pytest.raises(UserError):
            path_of(text)


def test_a_walk_ends(monkeypatch, tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "file").touch()
    assert list(walk(tmp_path)) == [tmp_path / "a" / "file"]
    (tmp_path / "a" / "other").touch()
    monkeypatch.setattr(paths, "FILES", 1)
    with pytest.raises(UserError, match="more than 1 files"):
        list(walk(tmp_path))
    monkeypatch.undo()
    monkeypatch.setattr(paths, "FOLDERS", 2)
    with pytest.raises(UserError, match="more than 2 folders"):
        list(walk(tmp_path))


def test_no_model_is_made_that_its_file_cannot_fill():
    """Whatever the file says of its shape; what is made on no device, to be counted, is not counted twice."""
    width = ASIDE // 4 + 100

    @within_memory
    def wide():
        return torch.nn.Linear(width, 1, bias=False)

    with within_file(4 * width):
        wide()
    with pytest.raises(UserError, match="takes more than the file holds"), within_file(3):
        wide()
    with pytest.raises(UserError, match="takes more than the file holds"), within_file(3):
        Standard().build("points", (width,))


@pytest.mark.parametrize("facts", ["3", "{", "[]", "null", '{"quantised": "x"}', "[" * 5000])
def test_a_damaged_description_of_a_codec_is_said(facts):
    with pytest.raises(UserError, match="codec"):
        Standard().build("pictures", (1, 2, 2), facts)


def test_what_does_not_fit_memory_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr(memory, "free", lambda: 10**9)
    require(10**9, "a sample")
    with pytest.raises(UserError, match="1,000 GB"):
        require(10**12, "as many samples")
    made = []

    @within_memory
    def wide(width):
        made.append(torch.empty(0).device.type)
        return torch.nn.Linear(width, width)

    with pytest.raises(UserError, match="more than the 1 GB"):
        wide(10**6)
    with pytest.raises(UserError, match="millions of GB"):
        wide(2**40)
    assert set(made) == {"meta"}


def test_looking_at_the_size_of_a_network_changes_nothing_random():
    def build():
        return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.Conv2d(1, 2, 3))

    torch.manual_seed(1)
    before = build().state_dict()
    torch.manual_seed(1)
    after = within_memory(build)().state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_no_grid_takes_more_steps_than_can_end():
    from undiffuse.process import Cosine

    for grid in GRIDS.values():
        with pytest.raises(UserError, match="steps"):
            grid(Cosine(), MOST + 1)
