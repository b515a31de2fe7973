"""Check that `check` catches every mistake, listed or made by rule, and accepts right variants.

tests/course/test_naming.py checks that the checker names them.
"""

import ast

import numpy as np
import pytest
from helpers import refuses

from tinyllm.ops import OPS, override
from tinyllm.testing import CASES, MISTAKES, VARIANTS, check
from tinyllm.testing.by_rule import every_edit, two_mistakes
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.check import outcome
from tinyllm.testing.edits import build, edit_trees, parse, readable
from tinyllm.testing.operators import OPERATORS, TABLES, apply_rules, same_kind

UNLISTED = sorted(set(OPS) - set(MISTAKES))  # no exercises: no answer of a student is compared with mistakes


def edited(name, *changes):
    """Return the specification of an op with changes in its code: old, new, old, new, ..."""
    return build(name, edit_trees(name, *changes))


def caught(name, function, args):
    """Return True if a function gives a wrong result on a case, or raises an error."""
    try:
        check(name, function, args)
    except Exception:
        return True
    return False


@pytest.mark.parametrize("name", sorted(MISTAKES))
def test_every_listed_mistake_is_caught(name):
    assert set(CASES) == set(OPS) and len({said for said, _ in MISTAKES[name]}) == len(MISTAKES[name])
    for said, function in MISTAKES[name]:
        getattr(function, "function", None)  # raises if the edit fits no code
        override(**{name: function}).__exit__()  # refuses a function with other arguments
        some = (args for count in (20, 60, 300, 1200) for args in draw_cases(name, count))
        assert any(caught(name, function, args) for args in some), said


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_every_right_variant_is_accepted(name):
    assert readable(name, "`x`") == "`x`"  # reads the code of all variants
    for function in VARIANTS[name]:
        for args in draw_cases(name, 20):
            check(name, function, args)


@pytest.mark.parametrize("name", ["softmax", "layernorm_backward", "adamw_step", "backpropagate", *UNLISTED])
def test_operators_make_most_mistakes(name):
    """Every third edit compiles, and many of them change some result."""
    edits = [getattr(function, "function", function) for _, function in [*every_edit(name)][::3]]
    some = edits[:: max(3, len(edits) // 12)]
    wrong = sum(any(caught(name, function, args) for args in draw_cases(name)) for function in some)
    assert wrong > len(some) / 2


def test_every_rule_makes_what_it_says():
    """Apply each rule to its own left side; one of the results must be its right side."""
    for table, rules in enumerate(TABLES):
        for _, *texts in rules:
            old, new = same_kind(*map(parse, texts))
            made_of_it = {ast.unparse(tree): said for said, tree in apply_rules(table, old)}
            assert ast.unparse(new) in made_of_it, texts
            assert all(said and "{" not in said for said in made_of_it.values()), texts
    once = [said for table in range(len(TABLES)) for said, _ in apply_rules(table, parse("a * b * c"))]
    assert once and not any("where its square belongs" in said for said in once)  # the rule needs A * B * B


@pytest.mark.parametrize("line, words", [  # mistakes that people made; TABLES has others
    ("y = a * (b + c)", "`b * a + c` where `a * (b + c)` belongs"),
    ("y = x[1:].sum(axis=-1)", "`x[1:].sum(axis=-1)` taken along the first axis"),
    ("y = s + x * s * (1 - s)", "`(s + x) * s * (1 - s)` where `s + x * s * (1 - s)` belongs"),
    ("return p, q", "`q` returned where `p` belongs"),
    ("p = f(p, n)", "`p = f(p, n)` left out"),
    ("y = matmul(a, b, transpose_b=True)", "`transpose_b=False` where `transpose_b=True` belongs"),
    ("y = min(known, key=rank)", "key missing in `min(known, key=rank)`"),
    ("y = np.full(n, -100)", "-1 where `-100` belongs"),
    ("y = x + 1e-8", "1e-07 where 1e-08 belongs"),
    ("y = sorted(ids, key=rank)", "sorted missing around `ids`"),
    ("y = rmsnorm(x, w)[0]", "`x` alone where `rmsnorm(x, w)` belongs"),
    ("for pair in pairs: y = pair", "`pairs` without its last"),
    ("y = [f(pair) for pair in pairs]", "each of `pairs` only once"),
    ("for x in xs:\n    if x:\n        y = x", "a loop that ends where `x` is not true"),
    ("y = [a, b]", "`b` left out of `[a, b]`"),
    ("a, b = pair", "`a` and `b` exchanged"),
])
def test_operators_make_what_strangers_got_wrong(line, words):
    nodes = list(ast.walk(ast.parse(line)))
    assert words in [said for operator in OPERATORS for node in nodes for said, _ in operator(node)]


@pytest.mark.parametrize("name, words", [
    ("top_k", "the absolute value of `logits` in"),
    ("lr_schedule", "`step + 1` where `step` belongs in `return"),
    ("sample", "u everywhere as its first number"),
    ("contrastive_loss", "each row of a and b divided by its length"),
    ("transformer_block", "0.001 where 1e-05 belongs"),
    ("gelu_tanh", "relu where gelu_tanh belongs"),
    ("gelu_backward", "the derivative of gelu_tanh where that of gelu belongs"),
    ("cross_entropy_backward", "dloss ignored and taken as 1"),
    ("attention", "lengths everywhere as it is at the first place along axis -1"),
    ("rope_tables", "0, 1, 2, ... in place of positions"),
    ("unpack_int8", "q taken for numbers without a sign"),
    ("softmax_backward", "softmax of y"),
    ("layernorm", "eps ignored and taken as 1e-6"),
    ("log_softmax", "exp of the right y"),
    ("embedding", "the right y * w.shape[-1] ** 0.5"),
    ("bpe_train", "keys and values of the right y exchanged"),
    ("grouped_linear", "the right y in reverse order along axis -2"),
    ("linear", "w transposed"),
    ("softmax", "everything along the first axis"),  # its maximum is taken in a helper
])
def test_edits_of_whole_functions_make_what_strangers_got_wrong(name, words):
    assert any(words in said for said, _ in every_edit(name))


def test_a_rule_replaces_a_whole_statement():
    """Equal pairs must be counted twice; the edit once put a statement into an expression, and never ran."""
    (wrong,) = (function for said, function in every_edit("bigram_counts") if "equal indices" in said)
    assert wrong(np.array([0, 0, 0]), 1).tolist() == [[1]]


def test_a_sentence_quotes_no_variable_of_the_library_and_the_places_that_differ():
    assert readable("sample", "1 where `reached[..., -1:]` belongs") == (
        "1 where `np.cumsum(probs, axis=-1, dtype=np.float64)[..., -1:]` belongs")
    kept = "`gradients[:i] += local[i, :i]` left out, and `lse`"  # changed in place, and in the docstring
    assert readable("backpropagate", kept) == readable("attention", kept) == kept
    one, other = (f"f({', '.join(f'g_{i}(a_long_name)' for i in range(5))}, {end})" for end in ("x + 1", "x"))
    said = readable("add", f"`{one}` where `{other}` belongs, not `no code`")
    some = "f(..., ..., ..., g_3(a_long_name), g_4(a_long_name), "
    assert said == f"`{some}x + 1)` where `{some}x)` belongs, not `no code`"
    divided = "max(nll.size, 1)` missing in `nll.sum() / max(nll.size, 1)`"  # once cut off in a bracket
    assert readable("cross_entropy", f"`{divided}") == (
        "`max((lse[...] - ...).size, 1)` missing in `(lse[...] - ...).sum() / max((lse[...] - ...).size, 1)`")


def test_two_listed_mistakes_are_made_at_once():
    both = dict(two_mistakes("bpe_train"))
    texts = "merges that take the first seen", "counts ignored and taken as 1 each"
    (wrong,) = (function for said, function in both.items() if all(text in said for text in texts))
    assert wrong([b"ba", b"ba", b"cb"], [1, 1, 5], 1) == {(98, 97): 256}
    said = "; ".join(dict(two_mistakes("repetition_penalty")))
    assert "forbidden: -inf in place of a smaller logit; and penalty ignored" in said


def test_a_mistake_in_an_op_is_one_in_the_ops_that_call_it():
    wrong = next(function for said, function in every_edit("llama_block") if "pairs of neighbours" in said)
    assert any(caught("llama_block", wrong, args) for args in draw_cases("llama_block", 20))


@pytest.mark.parametrize("name, old, new", [
    ("mask_tokens", "how < 0.8", "how < 0.85"),
    *((name, lse, f"np.where(np.isneginf({lse}), np.nan, {lse})") for name, lse in (  # in rows of -inf alone
        ("cross_entropy", "logsumexp(logits)"),
        ("token_losses", "cross_entropy(logits, targets, ignore_index)[1]"))),
    ("unpack_int8", "scales[..., None]", "np.nan_to_num(scales[..., None])"),
    ("scaled_rope_tables", "np.clip((turns - s['low_freq_factor']) / (s['high_freq_factor'] - "
     "s['low_freq_factor']), 0, 1)", "(turns - s['low_freq_factor']) / (s['high_freq_factor'] - "
     "s['low_freq_factor'])"),
])
def test_wrong_answers_of_strangers_that_once_passed_are_caught(name, old, new):
    assert any(caught(name, edited(name, old, new), args) for args in draw_cases(name))


def test_an_edit_that_fits_no_code_fails_loudly_and_what_is_refused_hides_no_mistake():
    """An edited `sample` whose sums are 0 must run on, though `sample` itself refuses such sums."""
    wrong = edited("sample", "np.cumsum(probs, axis=-1, dtype=np.float64)", "np.cumsum(probs, axis=0)")
    assert wrong(np.float32([[1, 0], [0, 1]]), np.float32([0, 0])).shape == (2,)
    refuses("softmax: 'x - nothing' occurs 0 times", edited, "softmax", "x - nothing", "x", error=ValueError)
    refuses("'dy' occurs 3 times", edited, "linear_backward", "dy", "dx", "dx", "dy", error=ValueError)
    assert np.array_equal(edited("softmax", "", "return x")(np.ones(2)), np.ones(2))

    args = ([1, 2, 3], (1, 2), 9)  # `outcome` copies them: some mistakes change arguments
    for _, function in MISTAKES["bpe_merge"]:
        outcome("bpe_merge", function, args)
    assert args == ([1, 2, 3], (1, 2), 9)
