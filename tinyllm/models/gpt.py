"""GPT-2: a stack of blocks that attend and think, read from end to end in this file.

Radford, Wu, Child, Luan, Amodei and Sutskever, "Language Models are Unsupervised Multitask Learners",
2019. Layout and parameter names are those of GPT-2's checkpoint, so the published weights load as they
are. One thing is left out: dropout on attention's probabilities, because attention here never stores
them.
"""

from dataclasses import dataclass

import tinyllm.functional as F
from tinyllm.errors import UserError
from tinyllm.models.huggingface import read_gpt2
from tinyllm.models.inputs import check_sizes, check_targets, check_tokens, positions_of
from tinyllm.nn import MLP, Dropout, Embedding, KVCache, LayerNorm, Module, SelfAttention, init_normal

PRESETS = {
    "nano": {"layers": 4, "heads": 4, "width": 128, "context": 64},  # nanoGPT's setting for a laptop
    "mini": {"layers": 6, "heads": 6, "width": 384, "context": 256},  # nanoGPT's setting for Shakespeare
    "small": {"layers": 12, "heads": 12, "width": 768, "context": 1024},  # GPT-2, 124M parameters
}


@dataclass(frozen=True)
class GPTConfig:
    """The sizes of a GPT, such as `GPTConfig(vocab_size=65, **PRESETS["nano"])`.

    Raises UserError when they make no model.
    """

    vocab_size: int  # V: how many different tokens there are
    context: int  # the largest T: how far back the model can look
    layers: int  # how many blocks stand on each other
    heads: int  # H: how many places a position can look at in one block
    width: int  # C: how many numbers describe a position
    dropout: float = 0.0
    bias: bool = True  # whether linear layers and norms add a bias, as GPT-2's do
    eps: float = 1e-5  # keeps layernorm from dividing by zero

    def __post_init__(self):
        check_sizes(self, ("vocab_size", "context", "layers", "heads", "width"))
        if self.width % self.heads:
            raise UserError(
                f"{self.heads} heads cannot share a width of {self.width}: make width a multiple of heads"
            )
        for name in ("dropout", "eps"):
            if not isinstance(getattr(self, name), (int, float)):
                raise UserError(f"{name} must be a number, got {getattr(self, name)!r}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout must be at least 0 and below 1, got {self.dropout!r}")
        if not 0 < self.eps < 1:
            raise UserError(f"eps must be above 0 and below 1, got {self.eps!r}")


class Block(Module):
    """Look around, then think: x + attention(norm(x)), then x + mlp(norm(x)).

    x (B, T, C) -> (B, T, C). The sums make a straight road through all blocks, the residual stream; each
    part reads a normalised copy of it and adds what it found.
    """

    def __init__(self, config):
        width, bias = config.width, config.bias
        self.ln_1 = LayerNorm(width, bias, config.eps)
        self.attn = SelfAttention(width, config.heads, bias)
        self.ln_2 = LayerNorm(width, bias, config.eps)
        self.mlp = MLP(width, 4 * width, bias)
        self.drop = Dropout(config.dropout)

    def __call__(self, x, cache=None):
        x = F.add(x, self.drop(self.attn(x, cache, self.ln_1)))
        return F.add(x, self.drop(self.mlp(x, self.ln_2)))


class GPT(Module):
    """A model that reads tokens and scores every possible next one: tokens (B, T) -> logits (B, T, V).

    `seed` decides the initial weights; `seed=None` leaves the matrices zero, for a model that gets its
    weights from a file.
    """

    tied_head = "wte"  # the embedding that is also the output layer
    lm_head = None  # a packed copy of it, which `nn.quantize` makes

    def __init__(self, config, seed=0):
        self.config = config
        self.wte = Embedding(config.vocab_size, config.width)  # what a token means
        self.wpe = Embedding(config.context, config.width)  # where it stands
        self.drop = Dropout(config.dropout)
        self.h = [Block(config) for _ in range(config.layers)]
        self.ln_f = LayerNorm(config.width, config.bias, config.eps)
        if seed is not None:
            init_normal(self, seed, self._initial_std)
            self.dropout_stream(seed, 0)

    def __call__(self, tokens, cache=None):
        """Score every possible next token after every position.

        tokens (B, T) or (T,), ints -> logits (B, T, V). With a cache, the tokens follow those that it has
        seen. Raises UserError when there are no tokens, more than the context holds, or some outside the
        vocabulary.
        """
        return self.head(self.hidden(tokens, cache))

    def hidden(self, tokens, cache=None):
        """Run all but the output layer, which decoding needs at the last position only.

        tokens (B, T) or (T,), ints -> (B, T, C). Raises UserError as calling the model does.
        """
        tokens = check_tokens(tokens, self.config.vocab_size)
        positions = positions_of(tokens, cache, self.config.context)
        x = self.drop(F.add(self.wte(tokens), self.wpe(positions)))
        for i, block in enumerate(self.h):
            x = block(x, cache[i] if cache else None)
        return self.ln_f(x)

    def head(self, x):
        """Score each token by how well its embedding agrees with x: (..., C) -> logits (..., V)."""
        if self.lm_head is not None:
            return self.lm_head(x)
        return F.matmul(x, self.wte.weight, transpose_b=True)

    def loss(self, tokens, targets):
        """Measure how surprised the model is by the true next tokens: their mean cross-entropy, in nats.

        tokens, targets (B, T) -> (). Targets of -100 do not count. A model that knows nothing pays ln V.
        """
        x = self.hidden(tokens)
        targets = check_targets(targets, x.shape[:2])
        if self.lm_head is not None:
            return F.cross_entropy(self.head(x), targets)
        return F.linear_cross_entropy(x, self.wte.weight, targets)  # both, by chunks of logits

    def new_cache(self, batch=1):
        """Return an empty KV cache for `batch` rows: one KVCache for each block."""
        c = self.config
        dtype = self.wte.weight.dtype
        return [KVCache(batch, c.context, c.heads, c.width // c.heads, dtype) for _ in self.h]

    @classmethod
    def from_pretrained(cls, folder):
        """Load GPT-2 from a folder with Hugging Face's config.json and model.safetensors.

        Nothing is downloaded. Raises UserError when a file is missing or broken, or describes another kind
        of model.
        """
        sizes, state = read_gpt2(folder)
        model = cls(GPTConfig(**sizes), seed=None)
        model.load_state_dict(state)
        return model

    def flops(self, batch, context):
        if self.lm_head is not None:  # which counts for itself
            return {}
        return {"head (wte)": 2 * batch * context * self.config.width * self.config.vocab_size}

    def _initial_std(self, name):
        """0.02, but less where a block adds to the residual stream, which 2 * layers sums would make grow."""
        return 0.02 / (2 * self.config.layers) ** 0.5 if name.endswith("c_proj.weight") else 0.02
