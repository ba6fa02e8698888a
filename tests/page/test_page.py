"""The page in a real browser: it draws, and draws what Python draws."""

import functools
import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from undiffuse.codec import MLPVAE
from undiffuse.codec.vae import Fit
from undiffuse.condition.specification import Labels
from undiffuse.core.errors import UserError
from undiffuse.net import MLP
from undiffuse.page import page, runtime
from undiffuse.recipes import digits
from undiffuse.recipes.toys import toy
from undiffuse.run.run import Run
from undiffuse.sampling.loop import last
from undiffuse.train.loop import train

SAMPLERS = ("ddim", "gradient-estimation", "dpm++2m", "heun", "ddpm")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
BEGUN = "window.undiffuse?.drawn > 0"


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *said: object) -> None:
        """Nothing."""


def awake(run: Run) -> Run:
    """With random weights everywhere, since a network that was hardly trained answers nearly 0."""
    generator = torch.Generator().manual_seed(0)
    for parameter in run.denoiser.net.parameters():
        parameter.data += 0.15 * torch.randn(parameter.shape, generator=generator)
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Run]:
    """Points, pictures by label, and letters among latents."""
    folder = tmp_path_factory.mktemp("runs")
    short = {"steps": 2, "report_every": 2, "width": 8}
    latent = {"codec": MLPVAE(latent=4, hidden=(8,), fit=Fit(steps=2)), "net": MLP(width=8, depth=1, waves=0)}
    recipes = {"roll": toy("swiss-roll").changed(**short), "digits": digits().changed(**short)}
    recipes["letters"] = digits().changed(**latent, steps=2, report_every=2)
    made = {name: awake(train(recipe, folder / name, quiet=True)) for name, recipe in recipes.items()}
    made["letters"] = replace(made["letters"], specifications={"label": Labels(tuple("ABCDEFGHIJ"))})
    return made


@pytest.fixture(scope="module")
def folder(runs, tmp_path_factory) -> Path:
    pytest.importorskip("onnxscript")
    if not all((runtime.cache() / name).is_file() for name in runtime.FILES):
        pytest.skip("onnxruntime-web is not in the cache: python -m undiffuse.page.runtime")
    out = tmp_path_factory.mktemp("site") / "page"
    said = page(list(runs.values()), out)
    assert [line.split(":")[0] for line in said.splitlines()] == list(runs)
    return out


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="the page is tried with playwright")
    if CHROMIUM is None:
        pytest.skip("the page is tried in Chromium, which is not installed")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(folder) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def tab(browser, address):
    """One tab for all, since the runtime is loaded once; it stands still, and complains of nothing."""
    opened = browser.new_page(reduced_motion="reduce", color_scheme="dark")
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    opened.goto(f"{address}#run=roll&count=3&steps=2")
    opened.wait_for_function(BEGUN)
    yield opened
    assert not wrong


@pytest.fixture
def drawn(tab, address) -> Callable[..., list[list[float]]]:
    """What a link draws: every state of the first seed."""

    def follow(link: str) -> list[list[float]]:
        before = tab.evaluate("undiffuse.drawn")
        tab.evaluate("link => { location.hash = link }", link.replace("+", "%2B"))
        tab.wait_for_function("before => undiffuse.drawn > before", arg=before)
        return tab.evaluate("undiffuse.states[0].map((state) => Array.from(state.x))")

    return follow


def wanted(run: Run, count: int, label: str | None, **how) -> torch.Tensor:
    sampling = run.sampling.override(steps=7, seed=3, **how)
    conditions = run.conditions(count, label=label) if run.specifications else None
    return last(run._states(run.plan(sampling), count, conditions, 3, 0)).flatten()


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", ["roll", "digits"])
def test_it_draws_what_python_draws(runs, drawn, name, sampler):
    states = drawn(f"run={name}&count=5&steps=7&seed=3&sampler={sampler}&guidance=1")
    torch.testing.assert_close(
        torch.tensor(states[-1]), wanted(runs[name], 5, None, sampler=sampler), atol=1e-4, rtol=1e-4
    )


def test_labels_and_guidance_are_those_of_python(runs, drawn):
    states = drawn("run=digits&count=3&steps=7&seed=3&sampler=ddim&guidance=2.5&is.label=4")
    expected = wanted(runs["digits"], 3, "4", sampler="ddim", guidance=2.5)
    assert expected.std() > 0.1
    torch.testing.assert_close(torch.tensor(states[-1]), expected, atol=1e-4, rtol=1e-4)


def test_a_line_is_written_letter_by_letter(runs, drawn, tab):
    states = drawn("run=letters&line=ab, JAZ&steps=7&seed=3&sampler=ddim&guidance=1")
    run = runs["letters"]
    sampling = run.sampling.override(steps=7, seed=3, sampler="ddim", guidance=1.0)
    z = last(run._states(run.plan(sampling), 4, run.conditions(4, label=["A", "B", "J", "A"]), 3, 0))
    torch.testing.assert_close(torch.tensor(states[-1]), z.flatten(), atol=1e-4, rtol=1e-4)
    assert tab.locator("#line").input_value() == "ab, JAZ"


def test_the_slider_goes_through_time_and_the_link_keeps_it(drawn, tab):
    drawn("run=roll&count=3&steps=7&seed=1&sampler=heun&beside=2&field=true")
    assert tab.locator("canvas").count() == 4
    tab.locator("#slider").fill("3")
    tab.wait_for_function("document.getElementById('where').value.startsWith('step 3 of 7')")
    kept = tab.evaluate("location.hash")
    picture = tab.evaluate("document.querySelector('canvas').toDataURL()")
    drawn("run=digits&count=2&steps=2")
    drawn(kept.removeprefix("#"))
    tab.wait_for_function("document.getElementById('where').value.startsWith('step 3 of 7')")
    assert tab.evaluate("document.querySelector('canvas').toDataURL()") == picture
    assert (tab.locator("#seed").input_value(), tab.locator("#sampler").input_value()) == ("1", "heun")


def test_what_is_brushed_is_drawn_anew_and_the_rest_kept(drawn, tab):
    before = drawn("run=digits&count=4&steps=5&seed=0&sampler=ddim")[-1]
    box, times = tab.locator("canvas").first.bounding_box(), tab.evaluate("undiffuse.drawn")
    tab.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.25 * box["height"])
    tab.mouse.down()
    tab.mouse.up()
    tab.wait_for_function("before => undiffuse.drawn > before", arg=times)
    after = tab.evaluate("Array.from(undiffuse.states[0].at(-1).x)")
    changed = [a != b for a, b in zip(before, after, strict=True)]
    assert 0 < sum(changed[:64]) <= 9
    assert not any(changed[64:])


def test_data_drawn_by_hand_is_sampled_by_its_exact_denoiser(drawn, tab):
    drawn("run=own&count=30&steps=12&sampler=ddim")
    pad, times = tab.locator("canvas").first.bounding_box(), tab.evaluate("undiffuse.drawn")
    places = [(0.25, 0.25), (0.75, 0.25), (0.5, 0.8)]
    tab.mouse.move(*(pad[side] + share * pad["width"] for side, share in zip("xy", places[0], strict=True)))
    tab.mouse.down()
    for place in places:
        tab.mouse.move(*(pad[side] + share * pad["width"] for side, share in zip("xy", place, strict=True)))
    tab.mouse.up()
    tab.wait_for_function("before => undiffuse.drawn > before", arg=times)
    x = torch.tensor(tab.evaluate("Array.from(undiffuse.states[0].at(-1).x)")).view(-1, 2)
    assert len(x.mul(50).round().unique(dim=0)) == 3  # three points, and nothing between them
    assert "data=" in tab.evaluate("location.hash")


def test_keys_and_files(drawn, tab):
    drawn("run=roll&count=3&steps=4&seed=5")
    tab.locator("h1").click()
    tab.keyboard.press("ArrowLeft")
    tab.wait_for_function("document.getElementById('where').value.startsWith('step 3 of 4')")
    for key, ending, begins in (("s", ".png", b"\x89PNG"), ("f", ".webm", b"\x1aE\xdf\xa3")):
        with tab.expect_download() as waited:
            tab.keyboard.press(key)
        assert waited.value.suggested_filename == f"roll-seed-5{ending}"
        content = Path(waited.value.path()).read_bytes()
        assert content.startswith(begins)
        assert len(content) > 1000


def test_on_a_phone_and_in_the_light(browser, address):
    tab = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="light")
    tab.goto(f"{address}#run=own&count=20&steps=5")
    tab.wait_for_function(BEGUN)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(251, 250, 247)"
    tab.wait_for_function("document.getElementById('play').textContent === '▶'")  # it has played by itself
    tab.close()


def test_a_page_opened_as_a_file_says_how_to_serve_it(browser, folder):
    tab = browser.new_page()
    tab.goto((folder / "index.html").as_uri())
    assert "python -m http.server" in tab.locator("#message").inner_text()
    tab.close()


# ------------------------------------------------------------------------------------------------- the folder


def test_what_cannot_be_shown_is_refused_before_anything_is_written(runs, tmp_path):
    run = runs["roll"]
    with pytest.raises(UserError, match="two runs are called roll"):
        page([run, run], tmp_path / "page")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(UserError, match="exists already"):
        page([], tmp_path / "mine")
    with pytest.raises(UserError, match="is no page"):
        page([], tmp_path / "mine", force=True)
    with pytest.raises(UserError, match="holds no"):
        page([run], tmp_path / "page", runtime=tmp_path)
    with pytest.raises(UserError, match=r"draws in stages; show one: .*stages/base"):
        page([replace(run, stages={"base": run})], tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_a_page_without_runs_needs_no_runtime_and_is_replaced_when_asked(tmp_path):
    for force in (False, True):
        page([], tmp_path / "page", force=force)
    assert json.loads((tmp_path / "page" / "runs.json").read_text()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page"]


def test_the_runtime_is_fetched_once_and_checked(tmp_path, monkeypatch):
    import base64
    import hashlib
    import tarfile

    package = tmp_path / "package.tgz"
    (tmp_path / "file").write_text("code")
    with tarfile.open(package, "w:gz") as archive:
        for name in runtime.FILES:
            archive.add(tmp_path / "file", f"package/dist/{name}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime.shutil, "which", lambda name: None)  # without npm
    monkeypatch.setattr(runtime, "URL", package.as_uri())
    with pytest.raises(UserError, match="not the package that was tested"):
        runtime.runtime_folder()
    digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    monkeypatch.setattr(runtime, "SHA512", digest)
    found = runtime.runtime_folder()
    assert sorted(path.name for path in found.iterdir()) == sorted(runtime.FILES)
    package.unlink()
    assert runtime.runtime_folder() == found  # without a network
    shutil.rmtree(found)
    with pytest.raises(UserError, match="--runtime FOLDER"):
        runtime.runtime_folder()
