"""The services and the tokenizer of csrc/ under sanitizers: a short form of verify_sanitizers.py."""

import shutil
import subprocess

import pytest
from native import build, compiler
from verify_sanitizers import SANITIZERS, SERVICES, TOKENIZER, drive

from tinyllm.ops.registry import _compiled

pytestmark = pytest.mark.skipif(
    _compiled is None or shutil.which(compiler()[0]) is None, reason="there is no C compiler"
)


@pytest.fixture(params=("thread", "address"))
def sanitizer(request, tmp_path):
    """The sanitizer, or none where this compiler or system has not got it."""
    empty = tmp_path / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    try:
        subprocess.run([build([empty], tmp_path, SANITIZERS[request.param])], check=True)
    except subprocess.CalledProcessError:
        return "plain"
    return request.param


def test_threads_and_pool_have_no_race_leak_or_deadlock(sanitizer):
    assert sanitizer in SANITIZERS
    code, text = drive(SERVICES, sanitizer)
    assert code == 0, text


def test_the_tokenizer_reads_and_writes_only_its_own(sanitizer):
    code, text = drive(TOKENIZER, sanitizer, "6")  # of the proof's runs, one in six
    assert code == 0, text
