"""Names of the properties that an op must have; reports of a check show them."""

ORDINARY = "right on ordinary numbers"
ORDINARY_INPUT = "right on ordinary input"  # of ops that take no numbers
INFINITE = "right where scores are -inf"
EXTREME = "right on huge and tiny numbers"
VIEWS = "right on views with other strides"
SMALL = "right on what is empty or has one element"
RIGHT = "right "  # the names of properties about numbers begin with this
FORM = "results have the right types and shapes"
PURE = "inputs are left as they were"
STEADY = "the same input gives the same result twice"
ARGUMENTS = "its arguments have their names and their defaults"
