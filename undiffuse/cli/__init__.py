"""The command line: `program` reads words, `words` makes values of them, `commands` does what they ask."""

from undiffuse.cli.program import main as main
