"""The commands that bring runs to the Hugging Face hub, and from there."""

from argparse import Namespace

from undiffuse.cli.speech import say


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
