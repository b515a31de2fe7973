"""Compare the logits of every family with a file of logits that transformers has computed.

Run as a script, this file writes family_logits.json: what transformers computes for each model.
"""

import importlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from tiny_models import MODELS, each, logits, made, open_there, theirs_logits

from tinyllm import ops
from tinyllm.ops.registry import _compiled

PATH = Path(__file__).with_name("family_logits.json")


@each
@pytest.mark.parametrize("backend", ["numpy"] + ["compiled"] * (_compiled is not None))
def test_the_forward_pass_is_that_of_transformers(name, backend):
    with ops.use(backend):
        y = logits(made(name))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y[0], json.loads(PATH.read_text())[name], rtol=1e-4, atol=1e-4)


def write():
    """Write the logits of the first row of tokens: {name: (T, V)}."""
    lines, there = [], importlib.import_module("transformers")
    for name in MODELS:
        with TemporaryDirectory() as folder:
            made(name).save_pretrained(folder)
            y = theirs_logits(open_there(there, Path(folder)), made(name))[0]
        lines.append(f"{json.dumps(name)}: {json.dumps(np.round(y.astype(float), 5).tolist())}")
    PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write()
