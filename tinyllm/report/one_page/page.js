// Let people use the model. `ids` is the text; the caches hold its tokens from `base` up to `known`.
const at = id => document.getElementById(id), data = JSON.parse(at("model").textContent);
const model = new Model(data), tokenizer = new Tokenizer(data.tokenizer);
const defaults = {...data.sampling, seed: 0, tokens: 200};
let ids = [], given = 0, base = 0, known = 0, place = 0, run = 0, decoder;

// Add an element to another. Text stays text.
function put(parent, tag, text = "", attributes = {}) {
    const element = parent.appendChild(document.createElement(tag));
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(text);
    return element;
}

// Score what could stand at place n, that is, after n tokens. The last of them is read again, for its attention.
// When the context is full, the last half of it is read again as if nothing stood before: see decode/engine.py.
function scoresAt(n, attention) {
    const step = model.context + 1 - Math.max(1, model.context >> 1);
    const begin = step * Math.max(0, Math.ceil((n - model.context) / step));
    if (begin !== base) known = base = begin;
    for (; known < n - 1; known++) model.read(ids[known], known - base);
    known = Math.max(known, n);
    return model.read(ids[n - 1], n - 1 - base, attention);
}

// Add a token to the text, and return its own text. Half a character is held back until its other half comes.
function append(id) {
    const text = decoder.decode(tokenizer.bytesOf(id), {stream: true});
    put(at("text"), "span", text, {class: ids.length < given ? "t" : "t own", role: "button", tabindex: 0});
    ids.push(id);
    return text;
}

// Stop writing; show what could stand at place n, and where the chosen head looked from the token before it.
function show(n) {
    run++;
    const attention = [], likely = softmax(scoresAt(n, attention));
    const weights = attention[at("layer").value * model.heads + Number(at("head").value)];
    place = n;
    Array.from(at("text").children).forEach((span, i) => {
        span.setAttribute("aria-pressed", i === n);
        span.classList.toggle("heat", i < n);
        span.style.setProperty("--s", 100 * (weights[i - base] ?? 0));
    });
    at("bars").replaceChildren();
    for (const id of Array.from(likely.keys()).sort((a, b) => likely[b] - likely[a]).slice(0, 10)) {
        const bar = put(at("bars"), "button", "", {class: "bar"}), percent = (100 * likely[id]).toFixed(1);
        put(bar, "span", new TextDecoder().decode(tokenizer.bytesOf(id)).replaceAll("\n", "\u21b5"), {class: "tok"});
        put(bar, "i").style.setProperty("--w", percent);
        put(bar, "span", percent + "%");
        bar.onclick = () => write([...ids.slice(0, n), id]);
    }
}

// Begin with tokens, and continue until the text ends or something else begins.
async function write(tokens) {
    const own = ++run, begun = performance.now(), settings = {};
    for (const name in defaults) settings[name] = Number(at(name).value || defaults[name]);
    let same = 0, written = "", shown = begun;
    while (same < known && ids[same] === tokens[same]) same++;
    known = Math.max(same, base);  // the caches keep what both texts begin with
    ids = [];
    decoder = new TextDecoder("utf-8", {ignoreBOM: true});
    at("text").replaceChildren();
    tokens.forEach(append);
    let end = ids.length + settings.tokens;
    while (own === run && ids.length < end) {
        const id = choose(scoresAt(ids.length), ids, settings, uniform(settings.seed, ids.length - given));
        written += append(id);
        if (data.stops.some(stop => stop === id || (stop.at && written.includes(stop)))) end = ids.length;
        if (ids.length < end && performance.now() < shown + 30) continue;
        const count = ids.length - tokens.length, rate = 1000 * count / (performance.now() - begun);
        at("status").textContent = `${count} tokens, ${rate.toFixed(0)} a second`;
        await new Promise(resume => setTimeout(resume));  // now the browser shows the text
        shown = performance.now();
    }
    if (own === run) show(ids.length);
}

at("form").onsubmit = event => {
    event.preventDefault();
    const typed = at("prompt").value && at("prompt").value + data.separator;
    const tokens = [...data.around[0], ...tokenizer.encode(typed), ...data.around[1]];
    if (tokens.length > model.context) throw Error(`that is ${tokens.length} tokens; the model reads ${model.context}`);
    given = tokens.length || data.start.length;
    write(tokens.length ? tokens : data.start);
};
onerror = message => at("status").textContent = message;
at("on").onclick = () => ids.length && write(ids);
at("stop").onclick = () => ids.length && show(ids.length);
at("text").onclick = at("text").onkeydown = event => {
    const n = Array.from(at("text").children).indexOf(event.target);
    if (n > 0 && (event.type === "click" || event.key === "Enter")) show(n);
};
for (const [id, count] of [["layer", model.layers], ["head", model.heads]]) {
    for (let i = 0; i < count; i++) put(at(id), "option", i);
    at(id).onchange = () => ids.length && show(place);
}
for (const name in defaults) {
    const label = put(at("settings"), "label", name.replaceAll("_", " "));
    put(label, "input", "", {id: name, type: "number", min: 0, step: "any", value: defaults[name] ?? 0});
}
at("status").textContent = "";
