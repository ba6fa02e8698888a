"""Tokens trained, sampled, prompted and measured: text and pictures of a few levels, from the command line and back."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from conditioned import built
from logged import read_log
from PIL import Image

import undiffuse
from undiffuse.cli import main
from undiffuse.codec import VQVAE, Levels, TokenCodec
from undiffuse.codec.vae import precomputed
from undiffuse.core.errors import UserError
from undiffuse.data.alphabet import Characters
from undiffuse.data.readers.digits import digits
from undiffuse.evaluate.bits import token_bits
from undiffuse.kind import compare, evaluate
from undiffuse.kind.text import TextKind, read
from undiffuse.loss.categorical import MaskedBound
from undiffuse.measure.text import text_report, variation
from undiffuse.net import DiT, SpaceToDepth, UNet
from undiffuse.net.embedded import Embedded
from undiffuse.net.token_transformer import TokenTransformer
from undiffuse.process import UNIFORM, Cosine
from undiffuse.process.categorical import TokenShape
from undiffuse.recipes import RECIPES, own_data
from undiffuse.sampling.sampling import Guidance
from undiffuse.train.loop import train

TINY = {"steps": 4, "batch": 8, "warmup": 1, "report_every": 4, "save_every": 2, "sampling_steps": 4}


@pytest.fixture(scope="module")
def beats(tmp_path_factory):
    """Heartbeats by masks, trained until the phase is understood."""
    recipe = RECIPES["heartbeat-masked"]().changed(net=replace(RECIPES["heartbeat-masked"]().model.net, width=32))
    recipe = recipe.changed(steps=600, batch=128, lr=4e-3, warmup=20, report_every=600, save_every=600)
    return train(recipe.override("data.count", "500"), tmp_path_factory.mktemp("beats") / "run", quiet=True)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A text of one's own, hardly trained."""
    folder = tmp_path_factory.mktemp("book")
    (folder / "rhyme.txt").write_text("The cat sat on the mat; the dog sat on the cat.\n" * 60, encoding="utf-8")
    recipe = own_data(folder / "rhyme.txt").changed(net=TokenTransformer(width=16, depth=1, heads=2), **TINY)
    train(recipe.override("data.length", "24"), folder / "run", quiet=True)
    return folder


def test_heartbeats_beat(beats):
    x = beats.sample(200, seed=1)
    places = torch.arange(20) % 5
    assert x.dtype == torch.int32 and x.shape == (200, 20)
    right = torch.stack([(x == (places == phase)).all(1) for phase in range(5)])
    assert right.any(0).double().mean() > 0.85 and (right.double().mean(1) > 0.1).all()
    assert torch.equal(beats.sample(7, seed=1, batch=3), x[:7])


def test_the_bound_is_above_the_entropy_and_near_it(beats):
    bits = token_bits(beats, beats.dataset("test"), draws=16)
    entropy = math.log2(5) / 20
    assert entropy - 4 * bits.error < bits.mean < 1.15 * entropy and bits.error < 0.05 * entropy


def infilled(run, text: str, count: int, hole: str = "_", **how) -> list[str]:
    x = run.sample(count, given=TextKind().prompt(run, text, hole), **how)
    return [read(run.codec.alphabet, piece) for piece in x]


def test_what_is_known_stays_and_decides_the_rest(beats):
    texts = infilled(beats, "__1_______", 50)
    assert all(text[:3].endswith("1") for text in texts)
    assert sum(text == "00100" * 4 for text in texts) > 40
    ends = infilled(beats, "*" * 19 + "1", 20, hole="*", seed=3, steps=20)
    assert all(text[-1] == "1" for text in ends) and sum(text == "00001" * 4 for text in ends) > 14
    assert read(beats.codec.alphabet, torch.tensor([2, 0, 2, 1])) == "\N{WHITE SQUARE}0\N{WHITE SQUARE}1"


def test_a_run_is_opened_as_it_was(beats):
    again = undiffuse.load(beats.folder)
    assert again.codec.alphabet == Characters(("0", "1")) and torch.equal(again.sample(5), beats.sample(5))
    states = list(again.trajectory(3, sampling=again.sampling.override(steps=5)))
    assert len(states) == 6 and (states[0][0] == 2).all() and int(states[-1][0].max()) < 2


def test_samplers_of_text_are_compared(beats):
    found = compare(beats, None, [2, 20], seeds=2, count=50)
    assert found.samplers == ["ancestral", "first-hitting", "most-confident-first"]
    slow, fast = (trial.estimate.mean for trial in found.of("ancestral")[::-1])
    assert slow < fast  # tokens drawn ten at a time do not know of each other
    with pytest.raises(UserError, match="ddim cannot sample masked tokens; choose one of ancestral"):
        compare(beats, ["ddim"], [2])


def test_the_report_has_bits_and_their_floor(beats):
    found = evaluate(beats, count=50)
    assert found["bits a token"].floor == pytest.approx(math.log2(5) / 20)
    assert found["20 tokens copied"].value > 0.8 and "standard error of the bits" in found.protocol


@pytest.mark.parametrize(
    "sampler", ["ancestral", "tau-leaping", "forward-backward", "first-hitting", "most-confident-first", "unrolling"]
)
def test_every_sampler_leaves_no_mask(beats, sampler):
    assert int(beats.sample(5, sampler=sampler, steps=3).max()) < 2


def test_masks_on_the_default_schedule_have_finite_bits(tmp_path):
    """Which leaves 2e-9 of the tokens unmasked at t = 1."""
    recipe = RECIPES["heartbeat-masked"]().changed(schedule=Cosine(), net=TokenTransformer(16, 1, 2), **TINY)
    run = train(recipe.override("data.count", "100"), tmp_path / "run", quiet=True)
    assert all(math.isfinite(value) for line in read_log(run.folder) for value in line.values())
    bits = token_bits(run, run.dataset("test"))
    assert math.isfinite(bits.mean) and math.isfinite(bits.error)


def test_a_text_of_ones_own(book, capsys):
    out = book / "out.txt"
    assert main(["sample", str(book / "run"), "-n", "2", "--prompt", "The _at", "--out", str(out)]) == 0
    first, second = (piece.strip("\n") for piece in out.read_text(encoding="utf-8").split("-" * 40))
    assert first.startswith("The ") and first[5:7] == "at" and len(second) <= 24
    assert "2 texts" in capsys.readouterr().out
    assert main(["evaluate", str(book / "run"), "-n", "20", "--json"]) == 0
    assert '"bits a token"' in capsys.readouterr().out
    assert main(["animate", str(book / "run"), "-n", "2", "--out", str(book / "film.gif")]) == 0
    assert Image.open(book / "film.gif").n_frames == 41
    assert main(["data", str(book / "rhyme.txt"), "--out", str(book / "some.txt")]) == 0


@pytest.mark.parametrize(
    "words, message",
    [
        ("sample RUN --prompt Zebra", "the character 'Z' is not known"),
        ("sample RUN --prompt aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "31 tokens, and what the run makes has 24"),
        ("sample RUN --prompt a --hole __", "a hole is one character"),
        ("sample RUN --out x.png", "saved as .txt"),
        ("sample RUN --sampler heun", "heun cannot sample masked tokens"),
        ("sample RUN --prompt The --sampler heun", "heun cannot sample masked tokens"),
        ("sample RUN --prompt The --grid nonsense", "unknown grid 'nonsense'"),
        ("sample RUN --prompt The --guidance 4", "guidance needs labels"),
        ("sample RUN --prompt The --seed -1", "seed must be at least 0, not -1"),
        ("sample RUN --label 3", "trained without labels"),
        ("sample RUN --given a=b", "have no columns"),
        ("train TEXT --loss denoising", "denoising is of gaussian-diffusion, which needs another network"),
        ("train TEXT --net unet", "--net token-transformer"),
        ("train TEXT --sampler ddim", "ddim cannot sample masked tokens"),
        ("train TEXT --loss unrolled --kernel.mask 0", "first-hitting cannot sample tokens that are not masked"),
        ("train TEXT --prediction eps", "leave --prediction out"),
        ("train TEXT --codec levels", "the codec levels encodes pictures, not text; leave --codec"),
        ("train TEXT --kernel.mask 0", "masks alone"),
        ("train TEXT --data.tokenizer nowhere", "tokenizer"),
        ("train swiss-roll --loss masked-bound", "--net token-transformer or embedded"),
        ("train swiss-roll --sampler first-hitting", "first-hitting cannot sample numbers; choose one of ddim"),
        (
            "train swiss-roll --kernel.mask 0",
            "kernel is of discrete-diffusion, and this recipe is of gaussian-diffusion",
        ),
        ("train digits --codec verbatim", "tokens encodes text, not pictures"),
    ],
)
def test_mistakes(book, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    argv = words.replace("RUN", str(book / "run")).replace("TEXT", str(book / "rhyme.txt")).split()
    code, error = main(argv), capsys.readouterr().err
    assert code in (1, 2) and message in error and error.count("\n") == 1, error


def test_what_unrolls_is_trained_and_compared_by_samplers_that_can(book, monkeypatch, capsys):
    """The docs' own line for SUNDAE; nothing that only unmasks is tried on it."""
    monkeypatch.chdir(book)
    tiny = "--steps 2 --batch 4 --report-every 2 --data.length 24 --net.width 16 --net.depth 1 --net.heads 2 --quiet"
    words = "train rhyme.txt --out sundae --loss unrolled --kernel.mask 0 --sampler unrolling"
    assert main([*words.split(), *tiny.split()]) == 0
    run = undiffuse.load("sundae")
    assert run.steps == 24 and not {"first-hitting", "most-confident-first"} & set(run.samplers)
    assert compare(run, None, [2], seeds=1, count=4).samplers == ["ancestral"]


def test_a_worse_run_speaks_the_same_tokens(book, monkeypatch, tmp_path):
    run = undiffuse.load(book / "run")
    again = undiffuse.load(book / "run")
    assert run.guided_by(worse=again).sample(1).shape == (1, 24)
    other = replace(again, codec=replace_alphabet(again.codec))
    with pytest.raises(UserError, match="what diffuses is not the same"):
        run.guided_by(worse=other)
    uniform = replace(again, denoiser=copy.copy(again.denoiser))
    uniform.denoiser.process = replace(again.denoiser.process, kernel=UNIFORM)
    with pytest.raises(UserError, match="loses tokens in another way"):
        run.guided_by(worse=uniform)


def replace_alphabet(codec: TokenCodec) -> TokenCodec:
    """As many symbols, other ones."""
    symbols = sorted(chr(ord(symbol) + 1) for symbol in codec.alphabet.symbols)
    return TokenCodec(codec.shape, Characters(tuple(symbols)))


def test_what_is_prompted_computes_as_what_is_sampled(book):
    """In half precision, if that is the recipe's."""
    run, seen = undiffuse.load(book / "run"), []
    run.denoiser.net.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    infilled(run, "The", 1)
    run.sample(1)
    assert run.recipe.training.precision == "bf16" and all(seen)


# --------------------------------------------------------------------------------- pictures made of tokens


def test_digits_lose_nothing_by_their_own_levels():
    x = digits().x
    for levels in (17, 256):
        codec = Levels(levels).build("pictures", (1, 8, 8))
        assert torch.equal(codec.decode(codec.encode(x)), x)
    few = Levels(4).build("pictures", (1, 8, 8))
    assert int((few.decode(few.encode(x)).int() - x.int()).abs().max()) <= 255 // 3 // 2 + 1
    assert (few.decode(torch.full((1, 1, 8, 8), 4)) == 128).all()


@pytest.mark.parametrize("shape", [(5, 6), (2, 4, 6)])
@pytest.mark.parametrize("inner", [UNet(width=8, multiples=(1,), embedding=8), DiT(width=16, depth=1, heads=2)])
def test_any_network_of_pictures_is_one_of_tokens(shape, inner):
    net = built(Embedded(inner, width=4), TokenShape(shape, 5), 2, states=6)
    logits = net(torch.randint(0, 6, (3, *shape)), torch.zeros(()), torch.tensor([0, 1, -1]))
    assert logits.shape == (3, *shape, 5) and (logits == 0).all()
    with pytest.raises(UserError, match="not text"):
        built(Embedded(inner), TokenShape((7,), 5), states=6)


def test_quantised_digits_by_label(tmp_path):
    inner = SpaceToDepth(UNet(width=8, multiples=(1,), embedding=8))
    run = train(RECIPES["quantised-digits"]().changed(net=Embedded(inner, 4), **TINY), tmp_path / "run", quiet=True)
    x = run.sample(6, label="3", guidance=3.0)
    assert x.dtype == torch.uint8 and x.shape == (6, 1, 8, 8)
    assert token_bits(run, run.dataset("test"), draws=1).mean > 0
    assert run.sample(3, label="3", guidance=Guidance(3.0, interval=(0.2, 5.0))).shape == (3, 1, 8, 8)
    for guidance in ({"rescale": 0.5}, {"threshold": "static"}):
        with pytest.raises(UserError, match="tokens are guided"):
            run.sample(1, guidance=Guidance(2.0, **guidance))
    assert main(["animate", str(run.folder), "-n", "4", "--out", str(tmp_path / "film.gif")]) == 0


# ------------------------------------------------------------------------------------------------ measures


def test_frequencies_differ_from_nothing_to_all():
    x, y = torch.randint(0, 4, (40, 30)), torch.randint(4, 8, (40, 30))
    for run in (1, 2, 30):
        assert variation(x, x, run) == 0 and variation(x, y, run) == pytest.approx(1)
    a, b = torch.tensor([[0, 0, 0, 1]]), torch.tensor([[0, 0, 1, 1]])
    assert variation(a, b, 1) == pytest.approx(0.25) and variation(a, b, 2) == pytest.approx(1 / 3)


def test_a_text_that_was_copied_is_found_out():
    alphabet, generator = Characters.of("ab c"), torch.Generator().manual_seed(0)
    train_on, held_out = (torch.randint(0, 4, (60, 40), generator=generator) for _ in range(2))
    copied = text_report(train_on[:30], held_out, train_on, alphabet)
    fresh = text_report(torch.randint(0, 4, (30, 40), generator=generator), held_out, train_on, alphabet)
    assert copied["24 tokens copied"].value == 1 and fresh["24 tokens copied"].value == 0
    assert copied["words known"].value == 1


def test_the_masked_bound_is_of_masks_alone():
    with pytest.raises(UserError, match="masks alone"):
        RECIPES["heartbeat"]().changed(loss=MaskedBound(), kernel=UNIFORM).denoiser(TokenShape((4,), 2), {})


# ------------------------------------------------------------------------------------- a vocabulary of pictures


def test_a_vocabulary_names_its_own_vectors():
    torch.manual_seed(0)
    codec = VQVAE(codes=7, latent=4, width=8, halvings=1).measure(digits())
    tokens = torch.randint(0, 7, (5, 4, 4))
    assert torch.equal(codec.nearest(torch.nn.functional.normalize(codec.vectors(tokens), dim=-1)), tokens)
    x = digits().x[:6]
    assert codec.latent_shape == (4, 4) and codec.latent_shape.classes == 7
    assert torch.equal(codec.encode(x), codec.latent(precomputed(codec, x))) and codec.decode(tokens).shape == (
        5,
        1,
        8,
        8,
    )
    assert codec.decode(torch.full((1, 4, 4), 7)).dtype == torch.uint8


def test_the_gradient_passes_the_choice_straight_through():
    torch.manual_seed(0)
    codec = VQVAE(codes=7, latent=4, width=8, halvings=1).measure(digits())
    codec.loss(digits().x[:8], deviation=0.3, kl=0.0).mean().backward()  # without its own term, by the decoder alone
    encoder = [weight.grad for weight in codec.encoder.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in encoder)
    assert max(float(gradient.abs().max()) for gradient in encoder) > 0


def test_pictures_of_another_size_than_the_vocabulary_takes():
    with pytest.raises(UserError, match="multiples of 4"):
        VQVAE().build("pictures", (1, 6, 8))
    with pytest.raises(UserError, match="at least 2 codes"):
        VQVAE(codes=1)
