"""Name the properties that an implementation of an op must have; the report of a check shows them."""

ORDINARY = "correct results on ordinary numbers"
ORDINARY_INPUT = "correct results on ordinary input"  # for ops that take no numbers
SIMPLE = "correct results with one head per kv head and no lengths"
INFINITE = "correct results where scores are -inf"
EXTREME = "correct results on huge and tiny numbers"
VIEWS = "correct results on views with other strides"
SMALL = "correct results on what is empty or has one element"
RIGHT = "correct "  # the names of properties about numbers begin with this
FORM = "results have the right types and shapes"
PURE = "inputs are left as they were"
STEADY = "the same input gives the same result twice"
ARGUMENTS = "its arguments have their names and their defaults"
