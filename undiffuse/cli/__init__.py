"""The command line: `program` reads words, `words` makes values of them; `looking`, `training`, `drawing`, `measuring`
and `sharing` do what they ask."""

from undiffuse.cli.program import main as main
