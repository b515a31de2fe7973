// Run a language model: a token goes in, scores of all next tokens come out. Rows are float32, sums float64.

const BLOCK = 32;  // this many numbers share a scale
const PARTS = {  // the names of a model's parts, and of those in each block
    gpt2: {embedding: "wte", positions: "wpe", last: "ln_f", block: "h", inner: {norm1: "ln_1", qkv: ["attn.c_attn"],
        mix: "attn.c_proj", norm2: "ln_2", up: "mlp.c_fc", down: "mlp.c_proj"}},
    llama: {embedding: "model.embed_tokens", last: "model.norm", block: "model.layers", inner: {
        norm1: "input_layernorm", qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        mix: "self_attn.o_proj", norm2: "post_attention_layernorm",
        gate: "mlp.gate_proj", up: "mlp.up_proj", down: "mlp.down_proj"}},
};
const sum = (x, term = number => number) => x.reduce((total, number) => total + term(number), 0);
const dot = (x, y) => x.reduce((total, number, i) => total + number * y[i], 0);
const add = (x, y) => x.map((number, i) => number + y[i]);
const silu = x => x / (1 + Math.exp(-x));
const gelu = x => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const round = x => x + 1.5 * 2 ** 52 - 1.5 * 2 ** 52;  // to a whole number, ties to even: large float64s are whole

// Round a row to whole numbers from -127 to 127, with one scale for each block.
function quantizeRow(x) {
    const blocks = Math.ceil(x.length / BLOCK), q = new Int8Array(blocks * BLOCK), scales = new Float32Array(blocks);
    for (let n = 0; n < blocks; n++) {
        const block = x.subarray(n * BLOCK, (n + 1) * BLOCK);
        scales[n] = block.reduce((largest, number) => Math.max(largest, Math.abs(number)), 0) / 127;
        if (scales[n] > 0) q.set(block.map(number => number / scales[n]).map(round), n * BLOCK);
    }
    return [q, scales];
}

// Multiply a row by a matrix of 8-bit weights: y = x W + bias. All inputs of an output lie side by side.
function linear({q, scales, bias}, x) {
    const [xq, xScales] = quantizeRow(x), blocks = xScales.length, y = new Float32Array(q.length / xq.length);
    for (let o = 0, w = 0; o < y.length; o++) {
        let total = 0;
        for (let n = 0; n < blocks; n++) {
            let products = 0;  // of whole numbers, so it is exact
            for (let i = n * BLOCK; i < (n + 1) * BLOCK; i++) products += xq[i] * q[w++];
            total = Math.fround(total + Math.fround(xScales[n] * scales[o * blocks + n]) * products);
        }
        y[o] = bias ? total + bias[o] : total;
    }
    return y;
}

// Scale a row to mean square 1 (RMSNorm); with a bias, to mean 0 and variance 1 (LayerNorm).
function normalize({weight, bias}, x, eps) {
    const mean = bias ? sum(x) / x.length : 0;
    const size = Math.sqrt(sum(x, number => (number - mean) ** 2) / x.length + eps);
    return x.map((number, i) => (number - mean) / size * weight[i] + (bias ? bias[i] : 0));
}

// Turn numbers i and i + width / 2 of every head, as a pair, by the angle position * theta^(-2 i / width).
function rotate(x, width, position, theta) {
    for (let i = 0; i < width / 2; i++) {
        const angle = position * theta ** (-2 * i / width);
        const cos = Math.fround(Math.cos(angle)), sin = Math.fround(Math.sin(angle));
        for (let a = i, b = i + width / 2; a < x.length; a += width, b += width)
            [x[a], x[b]] = [x[a] * cos - x[b] * sin, x[b] * cos + x[a] * sin];
    }
}

// Turn scores into probabilities.
function softmax(scores) {
    const largest = scores.reduce((a, b) => Math.max(a, b));
    const powers = scores.map(score => Math.exp(score - largest)), total = sum(powers);
    return powers.map(power => power / total);
}

class Model {
    constructor({family, settings, parts}) {
        const names = PARTS[family];
        for (const part of Object.values(parts))
            for (const [name, base64] of Object.entries(part)) {
                const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
                part[name] = name === "q" ? new Int8Array(bytes.buffer) : new Float32Array(bytes.buffer);
            }
        Object.assign(this, settings, {last: parts[names.last], head: parts.lm_head});
        this.kv_heads ??= this.heads;
        this.head_width ??= this.width / this.heads;
        this.embedding = parts[names.embedding].weight;
        this.positions = parts[names.positions]?.weight;
        this.blocks = Array.from({length: this.layers}, (_, number) => {
            const own = name => Array.isArray(name) ? name.map(own) : parts[`${names.block}.${number}.${name}`];
            const inner = Object.entries(names.inner).map(([role, name]) => [role, own(name)]);
            const cache = () => new Float32Array(this.context * this.kv_heads * this.head_width);
            return {...Object.fromEntries(inner), keys: cache(), values: cache()};
        });
    }

    // Read the token at a position, after all before it -> scores. Heads add their weights to `attention`.
    read(token, position, attention = []) {
        const row = (table, i) => table.slice(i * this.width, (i + 1) * this.width);
        let x = row(this.embedding, token);
        if (this.positions) x = add(x, row(this.positions, position));
        for (const block of this.blocks) {
            x = add(x, this.attend(block, normalize(block.norm1, x, this.eps), position, attention));
            x = add(x, this.feedForward(block, normalize(block.norm2, x, this.eps)));
        }
        return linear(this.head, normalize(this.last, x, this.eps));
    }

    // Average the values of all positions so far, weighted by softmax(q . k / sqrt(D)), in every head.
    attend({qkv, mix, keys, values}, x, position, attention) {
        const D = this.head_width, row = this.kv_heads * D, parts = qkv.map(layer => linear(layer, x));
        const [q, k, v] = parts[1] ? parts : [0, 1, 2].map(i => parts[0].subarray(i * row, (i + 1) * row));
        if (!this.positions) [q, k].forEach(part => rotate(part, D, position, this.theta));
        keys.set(k, position * row);  // the cache: what was read before is never computed again
        values.set(v, position * row);
        const y = new Float32Array(q.length);
        for (let head = 0; head < this.heads; head++) {
            const own = head * D, shared = Math.floor(head * this.kv_heads / this.heads) * D;
            const query = q.subarray(own, own + D), key = t => keys.subarray(t * row + shared, t * row + shared + D);
            const scores = new Float32Array(position + 1).map((_, t) => dot(query, key(t)) / Math.sqrt(D));
            const weights = softmax(scores);
            for (let t = 0; t <= position; t++)
                for (let d = 0; d < D; d++) y[own + d] += weights[t] * values[t * row + shared + d];
            attention.push(weights);
        }
        return linear(mix, y);
    }

    // Widen a row, apply the activation, and narrow it again. In LLaMA the activation of a gate is a factor.
    feedForward({gate, up, down}, x) {
        const wide = linear(up, x);
        return linear(down, gate ? linear(gate, x).map((number, i) => silu(number) * wide[i]) : wide.map(gelu));
    }
}

// Turn text into ids and back. A token is a string with one character for each of its bytes.
class Tokenizer {
    constructor({pattern, normalizer, tokens, whole, bytes, merges}) {
        Object.assign(this, {pattern: new RegExp(pattern, "gv"), normalizer, bytes});
        this.bytesOf = id => Uint8Array.from(tokens[id] ?? "", letter => letter.charCodeAt(0));
        this.whole = new Map(whole.map(id => [tokens[id], id]));
        this.merges = new Map(merges.map(([left, right, id], rank) => [`${left} ${right}`, {id, rank}]));
    }

    encode(text) {
        if (this.normalizer) text = text.normalize(this.normalizer);
        return text.match(this.pattern)?.flatMap(piece => this.encodePiece(piece)) ?? [];
    }

    // Begin with bytes; join the pair that was learnt first, wherever it stands, until no pair is known.
    encodePiece(piece) {
        const bytes = Array.from(new TextEncoder().encode(piece));
        const whole = this.whole.get(bytes.map(byte => String.fromCharCode(byte)).join(""));
        if (whole !== undefined) return [whole];
        let ids = bytes.map(byte => this.bytes[byte]);
        if (!ids.every(id => id >= 0)) throw Error(`the model does not know the character ${piece}`);
        for (;;) {
            const pairs = ids.map((id, i) => this.merges.get(`${id} ${ids[i + 1]}`));
            const first = pairs.reduce((best, pair) => pair && !(best?.rank <= pair.rank) ? pair : best, undefined);
            if (!first) return ids;
            const joined = [];
            for (let i = 0; i < ids.length; i += pairs[i] === first ? 2 : 1)
                joined.push(pairs[i] === first ? first.id : ids[i]);
            ids = joined;
        }
    }
}

// Choose the next token by the settings of decode/sampling.py, in the same order; u is a random number in [0, 1).
function choose(scores, ids, {temperature, top_k, top_p, min_p, repetition_penalty: penalty}, u) {
    scores = scores.slice();
    for (const id of new Set(ids)) scores[id] = scores[id] > 0 ? scores[id] / penalty : scores[id] * penalty;
    let kept = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a] || a - b);  // the likeliest first
    if (temperature === 0) return kept[0];
    const weights = scores.map(score => Math.exp((score - scores[kept[0]]) / temperature));
    if (top_k) kept = kept.slice(0, top_k);
    let reached = 0;
    const aim = (top_p || 1) * sum(kept, id => weights[id]);
    kept = kept.slice(0, 1 + kept.findIndex(id => (reached += weights[id]) >= aim));
    if (min_p) kept = kept.filter(id => weights[id] >= min_p);
    let rest = u * sum(kept, id => weights[id]);
    return kept.sort((a, b) => a - b).find(id => (rest -= weights[id]) < 0) ?? kept.at(-1);
}

// Draw random number n of a seed: the one that the library draws for its token n (rng.py: SplitMix64).
function uniform(seed, n) {
    const step = 0x9E3779B97F4A7C15n, mix = (z, by, factor) => BigInt.asUintN(64, (z ^ z >> by) * factor);
    const hash = z => mix(mix(mix(BigInt.asUintN(64, z), 30n, 0xBF58476D1CE4E5B9n), 27n, 0x94D049BB133111EBn), 31n, 1n);
    const bytes = ["i" + seed, "ssample", "i0"].flatMap(part => [...new TextEncoder().encode(part), 255]);
    const key = bytes.reduce((state, byte) => hash(state + step + BigInt(byte)), 0n);
    return Number(hash(key + BigInt(n + 1) * step) >> 11n) * 2 ** -53;
}
