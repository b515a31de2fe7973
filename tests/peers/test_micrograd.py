"""Compare expressions of scalars, and their gradients, with PyTorch's on every backend.

Andrej Karpathy, github.com/karpathy/micrograd, test/test_engine.py; written here, with the same operators.
"""

import numpy as np
import pytest

import tinyllm.functional as F
from tinyllm import ops
from tinyllm.tensor import Tensor

torch = pytest.importorskip("torch")
BACKENDS = ["numpy"] + ["compiled"] * (ops.add.compiled is not None)


def sanity(x, relu):
    z = 2 * x + 2 + x
    q = relu(z) + z * x
    return relu(z * z) + q + q * x


def more_ops(a, b, relu):
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + relu(b + a)
    d += 3 * d + relu(b - a)
    e = c - d
    f = e**2
    return f / 2.0 + 10.0 / f


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("f, numbers", [(sanity, (-4.0,)), (more_ops, (-4.0, 2.0)), (more_ops, (3.0, -0.5))])
def test_values_and_gradients_of_an_expression(backend, f, numbers):
    inputs = [Tensor(np.array(x), requires_grad=True) for x in numbers]
    theirs = [torch.tensor(x, dtype=torch.double, requires_grad=True) for x in numbers]
    with ops.use(backend):
        y, expected = f(*inputs, F.relu), f(*theirs, torch.relu)
        y.backward()
    expected.backward()
    assert y.dtype == np.float64 and y.item() == pytest.approx(expected.item(), rel=1e-12)
    for x, z in zip(inputs, theirs, strict=True):
        assert x.grad == pytest.approx(z.grad.item(), rel=1e-12)
