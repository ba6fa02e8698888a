"""How soon does the page draw? python -m benchmarks.page

In Chromium, of the recipes `swiss-roll` and `digits`, hardly trained, since that changes no time: from opening the page
to its first sample, and 30 steps of 500 points and of 16 digits; medians of 5 loads, with the least and the most.
"""

import functools
import http.server
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from undiffuse.page import page
from undiffuse.recipes import RECIPES
from undiffuse.train.loop import train

LOADS = 5


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *said: object) -> None:
        """Nothing."""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipes = {kind: RECIPES[kind]().changed(steps=2, report_every=2) for kind in ("swiss-roll", "digits")}
        page([train(recipe, folder / kind, quiet=True) for kind, recipe in recipes.items()], folder / "page")
        served = functools.partial(Silent, directory=folder / "page")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), served)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            for kind in recipes:
                opened, drawn = zip(*(_load(browser, server.server_port, kind) for _ in range(LOADS)), strict=True)
                print(f"{kind:10} first sample {_said(opened)}; 30 steps {_said(drawn)}")
            browser.close()


def _load(browser: Browser, port: int, kind: str) -> tuple[float, float]:
    """Seconds to the first sample, and of 30 steps after it."""
    tab = browser.new_page(reduced_motion="reduce")
    start = time.perf_counter()
    tab.goto(f"http://127.0.0.1:{port}/#run={kind}")
    tab.wait_for_function("window.undiffuse?.drawn > 0")
    opened = time.perf_counter() - start
    tab.evaluate(f"location.hash = 'run={kind}&steps=30&sampler=ddim'")
    tab.wait_for_function("undiffuse.drawn > 1")
    milliseconds = tab.evaluate("undiffuse.milliseconds")
    tab.close()
    return opened, milliseconds / 1000


def _said(seconds: tuple[float, ...]) -> str:
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


if __name__ == "__main__":
    main()
