"""The project's own operators change the code as their examples say."""

import pytest

pytest.importorskip("cosmic_ray")

from cosmic_ray.mutating import mutate_code
from operators import OWN


@pytest.mark.parametrize("kind", OWN)
def test_operators_do_what_their_examples_say(kind):
    for example in kind.examples():
        assert mutate_code(example.pre_mutation_code, kind(), example.occurrence) == example.post_mutation_code


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize(
    "code", ["x = 1 - y\n", "def f(a=1): return a\n", "x = a % b\n", "x = {'a': 1}\n", "x: int = 1\n"]
)
def test_what_is_changed_is_still_code(kind, code):
    changed = mutate_code(code, kind(), 0)
    assert changed is None or compile(changed, "x", "exec")
