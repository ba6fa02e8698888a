"""Which changes are made to the code: cosmic-ray's, one of each kind, and four that take something away.

Cosmic-ray replaces every operator by every other; nearly all of those end in a TypeError, and would only flatter.
"""

from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.operators.provider import OperatorProvider
from parso.python.tree import Keyword
from parso.tree import BaseNode, NodeOrLeaf

Position = tuple[tuple[int, int], tuple[int, int]]

REPLACED = (
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "Pow_Mul")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("FloorDiv_Mul", "Mod_Mul", "BitAnd_BitOr")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Eq_NotEq", "NotEq_Eq")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_GtE", "GtE_Lt", "Gt_LtE", "LtE_Gt", "Is_IsNot", "IsNot_Is")),
    *(f"ReplaceUnaryOperator_Delete_{sign}" for sign in ("USub", "Not", "Invert")),
    *("AddNot", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue"),
    *("NumberReplacer", "ZeroIterationForLoop", "ReplaceBreakWithContinue", "ReplaceContinueWithBreak"),
)

# methods whose answer may stand where the object stood
ALIKE = {
    *("abs", "clamp", "clamp_min", "clamp_max", "exp", "log", "sqrt", "square", "sigmoid", "softmax", "log_softmax"),
    *("cumsum", "flip", "sort", "detach", "double"),
}


class DropOperand(Operator):
    """a + b to a, and to b."""

    def mutation_positions(self, node: NodeOrLeaf) -> list[Position]:
        """One for each operand that can go."""
        return [(node.start_pos, node.end_pos) for _ in self._droppable(node)]

    def mutate(self, node: BaseNode, index: int) -> NodeOrLeaf:
        """Without that operand."""
        operand = self._droppable(node)[index]
        first = 0 if operand == 0 else operand - 1  # the operator goes with it
        del node.children[first : first + 2]
        return node if len(node.children) > 1 else node.children[0]

    @staticmethod
    def _droppable(node: NodeOrLeaf) -> list[int]:
        """The operands' places among the children; 1/b is not to become b, nor a - b to become b."""
        if node.type not in ("arith_expr", "term") or any(sign.value in "%@//" for sign in node.children[1::2]):
            return [2] if node.type == "term" and node.children[1].value == "/" and len(node.children) == 3 else []
        first = [0] if node.children[1].value in "+*" else []
        return [*first, *range(2, len(node.children), 2)]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Checked by `test_operators.py`."""
        return (
            Example("x = a + b", "x = b"),
            Example("x = a - b", "x = a"),
            Example("x = a * b * c", "x = a * c", occurrence=1),
            Example("x = a / b", "x = a"),
        )


class DropCall(Operator):
    """x.clamp(min=0) to x."""

    def mutation_positions(self, node: NodeOrLeaf) -> list[Position]:
        """One for each method that may be left out."""
        return [(node.children[i].start_pos, node.children[i + 1].end_pos) for i in self._calls(node)]

    def mutate(self, node: BaseNode, index: int) -> NodeOrLeaf:
        """Without the method."""
        call = self._calls(node)[index]
        del node.children[call : call + 2]
        return node

    @staticmethod
    def _calls(node: NodeOrLeaf) -> list[int]:
        if node.type not in ("atom_expr", "power") or node.children[0].get_code().strip() in ("torch", "np", "math"):
            return []
        names = [child.children[1].value if _is_attribute(child) else "" for child in node.children]
        return [i for i, name in enumerate(names[:-1]) if name in ALIKE and _is_call(node.children[i + 1])]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Checked by `test_operators.py`."""
        return (
            Example("y = x.clamp(min=0)", "y = x"),
            Example("y = x.exp().clamp(0, 1)", "y = x.exp()", occurrence=1),
        )


class DropKeyword(Operator):
    """f(x, right=True) to f(x)."""

    def mutation_positions(self, node: NodeOrLeaf) -> list[Position]:
        """One for each keyword."""
        return [(node.children[i].start_pos, node.children[i].end_pos) for i in self._keywords(node)]

    def mutate(self, node: BaseNode, index: int) -> NodeOrLeaf:
        """Without it, and without a comma beside it."""
        keyword = self._keywords(node)[index]
        first = keyword - 1 if node.type == "arglist" and keyword else keyword
        del node.children[first : first + (2 if node.type == "arglist" else 1)]
        return node

    @staticmethod
    def _keywords(node: NodeOrLeaf) -> list[int]:
        if node.type != "arglist" and not _is_call(node):
            return []
        return [i for i, child in enumerate(node.children) if child.type == "argument" and child.children[1] == "="]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Checked by `test_operators.py`."""
        return (
            Example("f(x, a=1, b=2)", "f(x, b=2)"),
            Example("f(a=1, b=2)", "f( b=2)"),
            Example("f(a=1)", "f()"),
        )


class DropStatement(Operator):
    """A call made for its effect, an x += 1, or a raise: to nothing."""

    def mutation_positions(self, node: NodeOrLeaf) -> list[Position]:
        """The statement."""
        acts = node.type == "simple_stmt" and self._acts(node.children[0])
        return [(node.start_pos, node.children[0].end_pos)] if acts else []

    def mutate(self, node: BaseNode, index: int) -> NodeOrLeaf:
        """A pass instead."""
        old = node.children[0]
        node.children[0] = Keyword("pass", old.start_pos, prefix=old.get_first_leaf().prefix)
        return node

    @staticmethod
    def _acts(statement: NodeOrLeaf) -> bool:
        augmented = statement.type == "expr_stmt" and statement.children[1].get_code().strip() not in ("=", ":")
        return statement.type in ("atom_expr", "raise_stmt") or (augmented and statement.children[1].type == "operator")

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Checked by `test_operators.py`."""
        return (
            Example("x.add_(1)\n", "pass\n"),
            Example("x += 1\n", "pass\n"),
            Example("raise ValueError(x)\n", "pass\n"),
        )


def _is_call(node: NodeOrLeaf) -> bool:
    return node.type == "trailer" and node.children[0].value == "("


def _is_attribute(node: NodeOrLeaf) -> bool:
    return node.type == "trailer" and node.children[0].value == "."


OWN = (DropOperand, DropCall, DropKeyword, DropStatement)
OPERATORS = (*(OperatorProvider()[name] for name in REPLACED), *OWN)
