"""tinyllm: a language-model library whose core can be read in a week, fast enough to be worth using.

import tinyllm as tl

corpus = tl.load_corpus("stories")
tokenizer = tl.CharTokenizer.train(corpus.text())
model = tl.GPT(tl.GPTConfig(vocab_size=tokenizer.vocab_size, context=64, layers=4, heads=4, width=128))
tokens = tl.token_array(corpus.data, tokenizer)
tl.fit(model, tokens, steps=100)
print("Once" + tokenizer.decode(tl.generate(model, "Once", max_tokens=200, tokenizer=tokenizer)))
"""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tinyllm.errors import missing
from tinyllm.version import __version__ as __version__

if TYPE_CHECKING:
    from tinyllm.api import *  # noqa: F403
else:

    def __getattr__(name: str) -> Any:
        """Return tinyllm.NAME, imported at its first use, so that `import tinyllm` stays fast."""
        if find_spec(f"{__name__}.{name}"):  # submodules first: api imports them through here
            return import_module(f"{__name__}.{name}")
        from tinyllm import api

        globals().update({each: getattr(api, each) for each in ("__all__", *api.__all__)})
        return globals()[name] if name in globals() else missing(__name__, name)

    def __dir__() -> list[str]:
        public = __getattr__("__all__")  # importing api also loads submodules, listed below
        parts = [name for name, value in globals().items() if isinstance(value, ModuleType)]
        return sorted({*public, *parts, *(name for name in globals() if name.startswith("__"))})
