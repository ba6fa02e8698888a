"""The commands that bring runs to others: to other programs, to the browser, to the Hugging Face hub and from there."""

from argparse import Namespace

from undiffuse.cli.speech import say
from undiffuse.core.paths import path_of


def push(options: Namespace) -> None:
    """Share a run on the Hugging Face hub: what sampling needs, with a page that says what it is."""
    from undiffuse.export.hub import push
    from undiffuse.run.folder import load

    say(f"wrote {push(load(options.folder), options.name, options.public, options.force)}")
    say(f"next, anywhere: undiffuse pull {options.name}")


def pull(options: Namespace) -> None:
    """Get a run from the Hugging Face hub."""
    from undiffuse.export.card import folder_of
    from undiffuse.export.hub import pull

    run, said = pull(options.name, options.out or folder_of(options.name))
    say(f"wrote {run.folder}: {said}")
    say(f"next: undiffuse sample {run.folder}    or: undiffuse train DATA --init {run.folder}")


def export(options: Namespace) -> None:
    """Write a run in the words of other programs: a new folder."""
    from undiffuse.export import export
    from undiffuse.run.folder import load

    out = path_of(options.out or f"{path_of(options.folder).name}-{options.to}")
    said = export(load(options.folder), options.to, out)
    say(f"wrote {out}: {said}")


def page(options: Namespace) -> None:
    """Write a page for the browser, on which runs un-diffuse noise: a static folder."""
    from undiffuse.page import page
    from undiffuse.run.folder import load

    said = page([load(folder) for folder in options.runs], options.out, options.runtime, options.force)
    say(said)
    say(f"wrote {options.out}; serve it: python -m http.server --directory {options.out}, open http://localhost:8000")
