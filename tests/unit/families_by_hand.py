"""The forward passes of the families once more, in float64 and with heads in a loop."""

import math

import numpy as np
from tiny_gpt import by_hand, softmax


class Weights(dict):
    """The weights of a model in float64, and the layers that several families have."""

    def __init__(self, model, prefix=""):
        state = model.state_dict()
        super().__init__({name.removeprefix(prefix): a.astype(np.float64) for name, a in state.items()})
        self.eps = model.config.eps

    def layer(self, x, name):
        return x @ self[f"{name}.weight"] + self.get(f"{name}.bias", 0)

    def layernorm(self, x, name):
        y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + self.eps)
        return y * self[f"{name}.weight"] + self[f"{name}.bias"]

    def rmsnorm(self, x, name, eps=None):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + (eps or self.eps)) * self[f"{name}.weight"]


def turned(x, theta, width, pairs=False):
    """Turn the first `width` channels of (T, D) by complex numbers.

    Each is made of the channels i and i + width/2, or, with `pairs`, of 2i and 2i + 1.
    """
    half = width // 2
    first, second = (x[:, 0:width:2], x[:, 1:width:2]) if pairs else (x[:, :half], x[:, half:width])
    angle = np.arange(len(x))[:, None] * theta ** (-2 * np.arange(half) / width)
    z = (first + 1j * second) * np.exp(1j * angle)
    return np.concatenate([z.real, z.imag, x[:, width:]], -1)


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / 2**0.5))


def feed_forward(config, w, name, h):
    """LLaMA's MLP, or a choice of experts, token by token: (T, C) -> (T, C)."""
    if f"{name}.gate.weight" not in w:
        gate, up = (h @ w[f"{name}.{part}_proj.weight"] for part in ("gate", "up"))
        return (gate / (1 + np.exp(-gate)) * up) @ w[f"{name}.down_proj.weight"]
    y = np.zeros_like(h)
    for t, p in enumerate(softmax(h @ w[f"{name}.gate.weight"])):
        best = sorted(range(config.experts), key=lambda e: -p[e])[: config.top]
        total = sum(p[e] for e in best) if config.normalise else 1
        y[t] = sum(p[e] / total * feed_forward(config, w, f"{name}.experts.{e}", h[t]) for e in best)
    return y


def llama_by_hand(model, tokens):
    """The forward pass of LLaMA and its kin in float64, heads in a loop: tokens (T,) -> p (T, V)."""
    w, config, T = Weights(model), model.config, len(tokens)
    D, norm = config.head_size, w.rmsnorm
    behind = np.arange(T)[:, None] - np.arange(T)
    hidden = (behind < 0) | (behind >= (config.window or T))
    x = w["model.embed_tokens.weight"][tokens]
    for i in range(config.layers):
        name = f"model.layers.{i}"
        h, out = norm(x, f"{name}.input_layernorm"), []
        q, k, v = (w.layer(h, f"{name}.self_attn.{part}_proj") for part in "qkv")
        for head in range(config.heads):
            own, kv = (slice(n * D, (n + 1) * D) for n in (head, head // (config.heads // config.kv_heads)))
            query, key = q[:, own], k[:, kv]
            if config.qk_norm:
                query, key = (norm(x, f"{name}.self_attn.{n}_norm") for x, n in ((query, "q"), (key, "k")))
            if not config.no_rope_every or (i + 1) % config.no_rope_every:
                query, key = turned(query, config.theta, D), turned(key, config.theta, D)
            scores = query @ key.T / np.sqrt(D)
            out.append(softmax(np.where(hidden, -np.inf, scores)) @ v[:, kv])
        x = x + np.concatenate(out, -1) @ w[f"{name}.self_attn.o_proj.weight"]
        h = norm(x, f"{name}.post_attention_layernorm")
        x = x + feed_forward(config, w, f"{name}.mlp", h)
    return softmax(norm(x, "model.norm") @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T)


def balanced_experts(config, w, name, h):
    """DeepSeek's choice of experts by a sigmoid, a bias and groups, token by token: (T, C) -> (T, C)."""
    y = feed_forward(config, w, f"{name}.shared_experts", h)
    size = config.experts // config.groups
    for t, p in enumerate(1 / (1 + np.exp(-(h @ w[f"{name}.gate.weight"])))):
        wanted = p + w[f"{name}.correction"]
        groups = sorted(range(config.groups),
                        key=lambda g: -sum(sorted(wanted[g * size : (g + 1) * size])[-2:]))  # fmt: skip
        allowed = [e for g in groups[: config.top_groups] for e in range(g * size, (g + 1) * size)]
        best = sorted(allowed, key=lambda e: -wanted[e])[: config.top]
        total = sum(p[e] for e in best) if config.normalise else 1
        y[t] += config.weight * sum(
            p[e] / total * feed_forward(config, w, f"{name}.experts.{e}", h[t]) for e in best)  # fmt: skip
    return y


def deepseek_by_hand(model, tokens):
    """The forward pass of DeepSeek-V3 with keys and values of every head: tokens (T,) -> p (T, V)."""
    w, c, T = Weights(model), model.config, len(tokens)
    plain, D, norm = c.plain_width, c.head_size, w.rmsnorm
    x = w["model.embed_tokens.weight"][tokens]
    for i in range(c.layers):
        name, out = f"model.layers.{i}", []
        h, attn = norm(x, f"{name}.input_layernorm"), f"{name}.self_attn"
        if c.query_latent:
            short = norm(w.layer(h, f"{attn}.q_a_proj"), f"{attn}.q_a_layernorm", 1e-6)
            q = w.layer(short, f"{attn}.q_b_proj")
        else:
            q = w.layer(h, f"{attn}.q_proj")
        joint = w.layer(h, f"{attn}.kv_a_proj_with_mqa")
        made = norm(joint[:, : c.latent], f"{attn}.kv_a_layernorm", 1e-6) @ w[f"{attn}.kv_b_proj.weight"]
        for head in range(c.heads):
            query = q.reshape(T, c.heads, -1)[:, head]
            key, value = np.split(made.reshape(T, c.heads, -1)[:, head], [plain], axis=-1)
            query = np.concatenate([query[:, :plain], turned(query[:, plain:], c.theta, D, pairs=True)], -1)
            key = np.concatenate([key, turned(joint[:, c.latent :], c.theta, D, pairs=True)], -1)
            scores = query @ key.T / np.sqrt(plain + D)
            out.append(softmax(np.where(np.triu(np.ones((T, T)), 1), -np.inf, scores)) @ value)
        x = x + w.layer(np.concatenate(out, -1), f"{attn}.o_proj")
        h = norm(x, f"{name}.post_attention_layernorm")
        mlp = balanced_experts if i >= c.dense_layers else feed_forward
        x = x + mlp(c, w, f"{name}.mlp", h)
    return softmax(norm(x, "model.norm") @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T)


def parallel_by_hand(model, tokens):
    """The forward pass of GPT-NeoX and Falcon in float64, heads in a loop: tokens (T,) -> p (T, V)."""
    neox = model.model_type == "gpt_neox"
    w, config, T = Weights(model, "gpt_neox."), model.config, len(tokens)
    D, norm, layer = config.width // config.heads, w.layernorm, w.layer
    width = config.rotary_width if neox else D
    x = w["embed_in.weight" if neox else "word_embeddings.weight"][tokens]
    for i in range(config.layers):
        name = f"layers.{i}" if neox else f"h.{i}"
        attention, first = f"{name}.{'' if neox else 'self_'}attention", norm(x, f"{name}.input_layernorm")
        rows, out = layer(first, f"{attention}.query_key_value").reshape(T, -1, D), []
        for head in range(config.heads):
            places = (3 * head, 3 * head + 1, 3 * head + 2) if neox else (head, -2, -1)
            q, k, v = (rows[:, place] for place in places)
            q, k = turned(q, config.theta, width), turned(k, config.theta, width)
            scores = np.where(np.tri(T, dtype=bool), q @ k.T / np.sqrt(D), -np.inf)
            out.append(softmax(scores) @ v)
        second = norm(x, f"{name}.post_attention_layernorm") if neox else first
        h = gelu(layer(second, f"{name}.mlp.dense_h_to_4h"))
        x = x + layer(np.concatenate(out, -1), f"{attention}.dense") + layer(h, f"{name}.mlp.dense_4h_to_h")
    head = w.get("lm_head.weight", w.get("word_embeddings.weight"))
    return softmax(norm(x, "final_layer_norm" if neox else "ln_f") @ head.T)


def bert_by_hand(model, tokens):
    """The forward pass of BERT in float64, heads in a loop: tokens (T,) -> p (T, V)."""
    w, config = Weights(model), model.config
    D, norm, layer = config.width // config.heads, w.layernorm, w.layer
    real = np.array([model.model_type != "roberta" or token != config.pad for token in tokens])
    places = np.where(real, np.cumsum(real), 0) + config.first_position - 1
    segment = w["encoder.segments.weight"][0] if config.segments else 0
    x = norm(w["encoder.tokens.weight"][tokens] + w["encoder.positions.weight"][places] + segment,
             "encoder.norm")  # fmt: skip
    for i in range(config.layers):
        name, out = f"encoder.layers.{i}", []
        q, k, v = (layer(x, f"{name}.attn.{part}_proj") for part in "qkv")
        for head in range(config.heads):
            own = slice(head * D, (head + 1) * D)
            out.append(softmax(q[:, own] @ k[:, own].T / np.sqrt(D)) @ v[:, own])
        x = norm(x + layer(np.concatenate(out, -1), f"{name}.attn.o_proj"), f"{name}.attn_norm")
        h = gelu(layer(x, f"{name}.mlp.dense_h_to_4h"))
        x = norm(x + layer(h, f"{name}.mlp.dense_4h_to_h"), f"{name}.mlp_norm")
    x = norm(gelu(layer(x, "lm_head.dense")), "lm_head.norm")
    return softmax(x @ w["encoder.tokens.weight"].T + w["lm_head.bias"])


def t5_bucket(distance, buckets, limit, both):
    """The bucket of one distance, key minus query, as the paper says it."""
    if both:
        return t5_bucket(-abs(distance), buckets // 2, limit, False) + (distance > 0) * (buckets // 2)
    back, exact = max(-distance, 0), buckets // 2
    if back < exact:
        return back
    far = exact + int(math.log(back / exact) / math.log(limit / exact) * (buckets - exact) + 1e-6)
    return min(far, buckets - 1)


def t5_by_hand(model, tokens, decoder_tokens):
    """The forward pass of T5 in float64, heads in a loop: tokens (S,), decoder_tokens (T,) -> p (T, V)."""
    w, c = Weights(model), model.config
    norm = w.rmsnorm

    def attention(name, x, seen, bias):
        q, k, v = x @ w[f"{name}.q.weight"], seen @ w[f"{name}.k.weight"], seen @ w[f"{name}.v.weight"]
        heads = [slice(n * c.head_width, (n + 1) * c.head_width) for n in range(c.heads)]
        out = [softmax(q[:, h] @ k[:, h].T + bias[n]) @ v[:, h] for n, h in enumerate(heads)]
        return np.concatenate(out, -1) @ w[f"{name}.o.weight"]

    def mlp(name, x):
        if c.mlp == "relu":
            return np.maximum(x @ w[f"{name}.wi.weight"], 0) @ w[f"{name}.wo.weight"]
        a = x @ w[f"{name}.wi_0.weight"]
        gelu = a * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3)))
        return (gelu * (x @ w[f"{name}.wi_1.weight"])) @ w[f"{name}.wo.weight"]

    def stack(part, layers, ids, memory):
        table = w[f"{part}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
        places = range(len(ids))
        bias = np.array([[table[t5_bucket(k - q, c.buckets, c.max_distance, memory is None)]
                          for k in places] for q in places]).transpose(2, 0, 1)  # fmt: skip
        if memory is not None:
            bias = np.where(np.tri(len(ids), dtype=bool), bias, -np.inf)
        x = w["shared.weight"][ids]
        for i in range(layers):
            layer, last = f"{part}.block.{i}.layer", 1 if memory is None else 2
            h = norm(x, f"{layer}.0.layer_norm")
            x = x + attention(f"{layer}.0.SelfAttention", h, h, bias)
            if memory is not None:
                h = norm(x, f"{layer}.1.layer_norm")
                x = x + attention(f"{layer}.1.EncDecAttention", h, memory, np.zeros(c.heads))
            x = x + mlp(f"{layer}.{last}.DenseReluDense", norm(x, f"{layer}.{last}.layer_norm"))
        return norm(x, f"{part}.final_layer_norm")

    x = stack("decoder", c.decoder_layers, decoder_tokens, stack("encoder", c.layers, tokens, None))
    x = x * c.width**-0.5 if c.scaled else x
    return softmax(x @ w.get("lm_head.weight", w["shared.weight"]).T)


def fuyu_by_hand(model, tokens, pictures=()):
    """The forward pass of Fuyu in float64, heads and patches in loops: tokens (T,) -> p (T, V)."""
    w, c, T = Weights(model), model.config, len(tokens)
    D, norm, layer = c.width // c.heads, w.layernorm, w.layer
    x = w["language_model.embed_tokens.weight"][tokens]
    marks = iter([t for t, token in enumerate(tokens) if token == c.picture])
    for picture in pictures:
        for top in range(0, c.side, c.patch):
            for left in range(0, c.side, c.patch):
                dots = picture[top : top + c.patch, left : left + c.patch].ravel() / 255 * 2 - 1
                x[next(marks)] = layer(dots, "vision_embed_tokens")
    for i in range(c.layers):
        name = f"language_model.layers.{i}"
        attention, out = f"{name}.self_attn", []
        rows = layer(norm(x, f"{name}.input_layernorm"), f"{attention}.query_key_value").reshape(T, -1, D)
        for q, k, v in rows.reshape(T, c.heads, 3, D).transpose(1, 2, 0, 3):
            q, k = (turned(norm(x, f"{attention}.{n}_layernorm"), c.theta, D // 2)
                    for x, n in ((q, "q"), (k, "k")))  # fmt: skip
            out.append(softmax(np.where(np.tri(T, dtype=bool), q @ k.T / np.sqrt(D), -np.inf)) @ v)
        x = x + layer(np.concatenate(out, -1), f"{attention}.dense")
        h = layer(norm(x, f"{name}.post_attention_layernorm"), f"{name}.mlp.dense_h_to_4h")
        x = x + layer(np.maximum(h, 0) ** 2, f"{name}.mlp.dense_4h_to_h")
    return softmax(norm(x, "language_model.final_layernorm") @ w["lm_head.weight"].T)


def gpt2_by_hand(model, tokens):
    return by_hand(model, tokens)["p"][-1]


BY_HAND = {"gpt2": gpt2_by_hand, "gpt_neox": parallel_by_hand, "falcon": parallel_by_hand,
           "deepseek_v3": deepseek_by_hand, "fuyu": fuyu_by_hand,
           "bert": bert_by_hand, "distilbert": bert_by_hand, "roberta": bert_by_hand}  # fmt: skip
