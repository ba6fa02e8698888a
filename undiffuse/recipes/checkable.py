"""Texts that a program can check: brackets, sudokus and sums, by masks, the surest first."""

from undiffuse.codec import Tokens
from undiffuse.data.source import Arithmetic, Brackets, Sudoku
from undiffuse.loss.categorical import MaskedBound
from undiffuse.net.token_transformer import TokenTransformer
from undiffuse.process import Fading
from undiffuse.recipe.model import DiscreteDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.sampling.sampling import Sampling


def brackets() -> Recipe:
    """nested brackets of three kinds, which a program checks"""
    return _checkable(Brackets())


def sudoku() -> Recipe:
    """full sudokus of 4 x 4, which a program checks; --data.side 6 for larger ones"""
    return _checkable(Sudoku())


def arithmetic() -> Recipe:
    """sums of two numbers of three digits, which a program checks"""
    return _checkable(Arithmetic())


def _checkable(source: Brackets | Sudoku | Arithmetic) -> Recipe:
    return Recipe(
        data=source,
        codec=Tokens(),
        model=DiscreteDiffusion(
            TokenTransformer(width=64, depth=3, heads=4, positions="learned", time=False),
            schedule=Fading(),
            loss=MaskedBound(),
        ),
        training=Training(steps=1_500, batch=64, lr=2e-3, save_every=500, report_every=500),
        sampling=Sampling(sampler="most-confident-first", steps=None),
    )
