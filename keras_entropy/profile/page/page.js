"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const layers = data.layers;
  const by = (id) => document.getElementById(id);
  const rows = [...by("table").tBodies[0].rows];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let chosen = null;

  const text = (value, digits = 3) =>
    value === null || value === undefined ? "\u2014" : String(Number(value.toPrecision(digits))).replace("-", "\u2212");

  function element(name, attributes = {}, ...children) {
    const found = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
    found.append(...children);
    return found;
  }

  function draw(name, attributes, content = "") {
    const found = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
    if (content) found.textContent = content;
    return found;
  }

  // Round numbers for the ticks of an axis.
  function ticks(low, high, count) {
    const raw = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step);
    return found;
  }

  function range(values) {
    let low = Infinity, high = -Infinity;
    for (const value of values) if (value !== null) { low = Math.min(low, value); high = Math.max(high, value); }
    if (low > high) return [-1, 1];
    const margin = (high - low || Math.abs(high) || 1) * 0.06;
    return [low - margin, high + margin];
  }

  // An SVG with its vertical axis; returns it and the function that places a value.
  function axes(width, height, left, bottom, [low, high], label, alt) {
    const svg = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": alt });
    const top = 24;
    const place = (value) => top + ((high - value) / (high - low)) * (height - top - bottom);
    svg.append(draw("text", { x: 0, y: 12, class: "faint" }, label));
    for (const tick of ticks(low, high, Math.max(2, (height - top - bottom) / 45))) {
      const y = place(tick).toFixed(1);
      svg.append(draw("line", { x1: left, x2: width, y1: y, y2: y, class: Math.abs(tick) < 1e-12 ? "axis zero" : "axis" }));
      svg.append(draw("text", { x: left - 7, y: Number(y) + 4, "text-anchor": "end", class: "faint" }, text(tick)));
    }
    return [svg, place];
  }

  // Curves of sorted values or of values by epoch.
  function chart(series, { x, y, alt, width, height = 210 }) {
    const most = Math.max(1, ...series.map((s) => s.n));
    const [svg, place] = axes(width, height, 46, 36, range(series.flatMap((s) => s.y)), y, alt);
    const across = (rank) => 50 + (most > 1 ? (rank - 1) / (most - 1) : 0.5) * (width - 62);
    const whole = [...new Set(ticks(1, Math.max(most, 2), Math.max(2, width / 90)).map(Math.round))];
    for (const tick of new Set([1, ...whole])) {
      if (tick >= 1 && tick <= most) svg.append(draw("text", { x: across(tick), y: height - 20, "text-anchor": "middle", class: "faint" }, text(tick, 6)));
    }
    svg.append(draw("text", { x: 50, y: height - 4, class: "faint" }, x));
    for (const one of series) {
      let path = "", pen = false;
      one.y.forEach((value, i) => {
        if (value === null) { pen = false; return; }
        const rank = one.y.length > 1 ? 1 + (i * (one.n - 1)) / (one.y.length - 1) : 1;
        path += `${pen ? "L" : "M"}${across(rank).toFixed(1)} ${place(value).toFixed(1)}`;
        pen = true;
        if (one.n === 1) svg.append(draw("circle", { cx: across(1), cy: place(value), r: 3.5, class: one.look }));
      });
      svg.append(draw("path", { d: path, class: one.look }));
    }
    return svg;
  }

  function legend(entries) {
    const list = element("ul", { class: "legend" });
    for (const [look, name] of entries) {
      const sign = draw("svg", { width: 26, height: 12, "aria-hidden": "true" });
      sign.append(look.startsWith("box") ? draw("rect", { x: 4, y: 1, width: 18, height: 10, class: look }) : draw("line", { x1: 1, x2: 25, y1: 6, y2: 6, class: look }));
      list.append(element("li", {}, sign, name));
    }
    return list;
  }

  function figure(caption, ...content) {
    const found = element("figure", {}, ...content);
    found.append(element("figcaption", {}, caption));
    return found;
  }

  function shared(one, other) {
    let n = 0;
    while (n < one.length && one[n] === other[n]) n++;
    return n;
  }

  // Labels of about 20 signs: the end of a name, and what tells it from names with the same end.
  function labels(names) {
    const found = names.map((name) => name.length > 20 ? `\u2026${name.slice(-19)}` : name);
    const alike = (i) => names.filter((other, j) => j !== i && found[j] === found[i]);
    const apart = found.map((label, i) => {
      const others = alike(i);
      if (!others.length) return label;
      const name = names[i];
      const same = Math.max(...others.map((other) => shared(name, other)));
      const word = Math.max(...["/", "_"].map((sign) => name.slice(0, same).lastIndexOf(sign))) + 1;
      const start = Math.max(word, same - 9);
      return `${start ? "\u2026" : ""}${name.slice(start, start + 10)}\u2026${name.slice(-11)}`;
    });
    // Names that differ in several places can be alike still: the number in the table tells them apart.
    return apart.map((label, i) => apart.indexOf(label) === apart.lastIndexOf(label) ? label : `${i + 1} ${label}`);
  }

  function overview() {
    const region = by("overview");
    const width = Math.max(region.clientWidth, 64 + layers.length * 3.6);
    const column = (width - 64) / Math.max(1, layers.length);
    const named = column >= 15;
    const short = named ? labels(layers.map((l) => l.name)) : [];
    const longest = Math.max(0, ...short.map((label) => label.length));
    const bottom = named ? 28 + 5.2 * longest : 34;
    const height = (named ? 270 : 286) + bottom;
    const parts = layers.flatMap((l) => [l.own, l.random]).filter((n) => n && n.box);
    const values = parts.flatMap((n) => [n.box.ends[0], n.box.ends[4], n.mean]).concat(layers.flatMap((l) => (l.own && l.own.box ? l.own.box.outliers : [])));
    const alt = `Box plots of ${layers.length} weights in the order of the layers, in ${data.unit}. The table below holds the numbers.`;
    const [svg, place] = axes(width, height, 46, bottom, range(values), data.unit, alt);
    const wide = Math.min(18, column * 0.62), thin = Math.min(9, column * 0.34);
    svg.append(draw("rect", { id: "marked", x: -100, y: 20, width: Math.min(column, 60), "data-column": column, height: height - bottom - 20, class: "marked" }));
    layers.forEach((layer, i) => {
      const x = 50 + (i + 0.5) * column;
      const line = (y1, y2, half, look) => draw("line", { x1: x - half, x2: x + half, y1: place(y1), y2: place(y2), class: look });
      if (layer.random && layer.random.box) {
        const [, low, , high] = layer.random.box.ends;
        svg.append(draw("rect", { x: x - wide / 2, y: place(high), width: wide, height: Math.max(1, place(low) - place(high)), class: "box-random" }));
      }
      const other = layer.random && layer.random.mean;
      if (named && Number.isFinite(other)) svg.append(line(other, other, wide / 2, "mean-random"));
      if (layer.own && layer.own.box) {
        const [end, low, middle, high, top] = layer.own.box.ends;
        svg.append(draw("line", { x1: x, x2: x, y1: place(top), y2: place(end), class: "whisker" }));
        svg.append(draw("rect", { x: x - thin / 2, y: place(high), width: thin, height: Math.max(1, place(low) - place(high)), class: "box-own" }));
        svg.append(line(middle, middle, thin / 2, "median"));
        for (const value of layer.own.box.outliers) svg.append(draw("circle", { cx: x, cy: place(value), r: Math.min(2.2, column * 0.3), class: "outlier" }));
        if (layer.own.mean !== null) svg.append(draw("circle", { cx: x, cy: place(layer.own.mean), r: Math.min(3, column * 0.28), class: "mean-own" }));
        if (layer.own.mean === null || layer.own.box.infinite) svg.append(lost(x, height - bottom));
      } else if (layer.own) svg.append(lost(x, height - bottom));
      if (!named && Number.isFinite(other)) svg.append(line(other, other, column / 2, "mean-random"));  // else it is hidden
      if (named) {
        const y = height - bottom + 14;
        const label = draw("text", { x, y, "text-anchor": "end", transform: `rotate(${region.clientWidth < 500 ? -65 : -50} ${x} ${y})` }, short[i]);
        label.append(draw("title", {}, layer.name));
        svg.append(label);
      }
      const pick = draw("rect", { x: x - column / 2, y: 20, width: column, height: height - bottom - 20, class: "pick" });
      pick.append(draw("title", {}, `${layer.name}: ${layer.own ? `mean ${text(layer.own.mean)} ${layer.unit}` : "not measured"}`));
      pick.addEventListener("click", () => select(i, true));
      svg.append(pick);
    });
    if (!named) {
      for (const tick of ticks(1, Math.max(2, layers.length), width / 80)) {
        if (tick >= 1 && tick === Math.round(tick)) svg.append(draw("text", { x: 50 + (tick - 0.5) * column, y: height - bottom + 16, "text-anchor": "middle", class: "faint" }, String(tick)));
      }
      svg.append(draw("text", { x: 50, y: height - 2, class: "faint" }, "number of the layer, as in the table"));
    }
    region.replaceChildren(svg);
    const names = [["box-own", "this model"]];
    if (data.other) names.push(["box-random", data.other]);
    by("key").replaceChildren(legend(names));
    mark();
  }

  const lost = (x, y) => draw("path", { d: `M${x - 4} ${y - 8}h8l-4 7z`, class: "lost" });

  function mark() {
    const found = by("marked");
    if (!found || chosen === null) return;
    const middle = 50 + (chosen + 0.5) * Number(found.dataset.column);
    found.setAttribute("x", middle - Number(found.getAttribute("width")) / 2);
  }

  function epochs() {
    const place = by("epochs");
    if (!place) return;
    const width = place.clientWidth;
    const known = layers.filter((l) => l.epochs);
    const series = known.map((l) => ({ n: l.epochs.length, y: l.epochs, look: "others" }));
    const own = chosen === null ? null : layers[chosen];
    if (own && own.epochs) series.push({ n: own.epochs.length, y: own.epochs, look: "own" });
    const alt = `Entropy of ${known.length} weights by epoch${own && own.epochs ? `; ${own.name} from ${text(own.epochs[0])} to ${text(own.epochs.at(-1))}` : ""}.`;
    const names = [["others", "all weights"]];
    if (own && own.epochs) names.push(["own", own.name]);
    place.replaceChildren(chart(series, { x: "epoch", y: "entropy as logged, nats", alt, width, height: 260 }), legend(names));
    const looks = ["own", "random", "third", "fourth"];
    const found = Object.entries(data.losses).map(([name, y], i) => ({ name, n: y.length, y, look: looks[i] }));
    if (!found.length) return;
    const said = found.map((l) => `${l.name} from ${text(l.y[0])} to ${text(l.y.at(-1))}`).join("; ");
    by("losses").replaceChildren(chart(found, { x: "epoch", y: "loss", alt: said, width, height: 220 }), legend(found.map((l) => [l.look, l.name])));
  }

  function matrix(numbers, name) {
    const size = numbers.outputs.length;
    const bytes = Uint8Array.from(atob(numbers.cosines), (c) => c.charCodeAt(0));
    const alt = `${name}: absolute cosines between ${size} outputs, mean ${text(numbers.cosine)}`;
    const canvas = element("canvas", { width: size, height: size, role: "img", "aria-label": alt });
    const context = canvas.getContext("2d");
    const parse = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
    const low = parse(colour("--page")), high = parse(colour("--ink"));
    const image = context.createImageData(size, size);
    const paint = (i, j, part) => {
      for (let c = 0; c < 3; c++) image.data[4 * (i * size + j) + c] = low[c] + (high[c] - low[c]) * part;
      image.data[4 * (i * size + j) + 3] = 255;
    };
    for (let i = 0, k = 0; i < size; i++) {
      paint(i, i, 1);
      for (let j = i + 1; j < size; j++, k++) { paint(i, j, bytes[k] / 255); paint(j, i, bytes[k] / 255); }
    }
    context.putImageData(image, 0, 0);
    return element("div", {}, canvas, element("p", {}, `${name}: mean ${text(numbers.cosine)}`));
  }

  function scale() {
    const bar = draw("svg", { width: 180, height: 16, role: "img", "aria-label": "Colours from 0, the page, to 1, the diagonal" });
    bar.append(draw("text", { x: 0, y: 12, class: "faint" }, "0"), draw("text", { x: 160, y: 12, class: "faint" }, "1"));
    for (let i = 0; i <= 10; i++) bar.append(draw("rect", { x: 16 + 12 * i, y: 2, width: 12, height: 12, class: "ink", "fill-opacity": i / 10 }));
    return element("div", { class: "scale" }, bar);
  }

  function table(entries) {
    const head = ["quantity", "of", "n", "least", "lower quartile", "median", "upper quartile", "most"];
    const line = (cells, kind) => {
      const row = element("tr");
      cells.forEach((cell, i) => row.append(element(i ? kind : "th", i > 1 ? { class: "number", ...(kind === "th" ? { scope: "col" } : {}) } : { scope: kind === "th" ? "col" : "row" }, cell)));
      return row;
    };
    const body = element("tbody");
    for (const [name, of, found] of entries) body.append(line([name, of, String(found.n), ...found.quartiles.map((q) => text(q))], "td"));
    const inner = element("table", {}, element("caption", {}, "The curves in numbers"), element("thead", {}, line(head, "th")), body);
    return element("div", { class: "scroll table numbers", tabindex: "0", role: "region", "aria-label": "The curves in numbers" }, inner);
  }

  const CURVES = {
    spectrum: ["Singular spectrum", "rank, largest first", "log of singular value, nats",
      "How strongly each direction of the input passes. A curve that falls steeply below that of the random copy has lost directions."],
    values: ["Values of the measure", "rank, largest first", null, "The values of which the box plot is made, sorted."],
    norms: ["Strength of each output", "rank of the output, strongest first", "norm of its weights",
      "Outputs at 0 are dead. A steep curve says that few outputs carry most of the weight."],
  };

  function detail() {
    const layer = layers[chosen];
    const own = layer.own;
    by("name").textContent = layer.name;
    by("about").textContent = [layer.kind, layer.shape, own ? `mean ${text(own.mean, 4)} ${layer.unit}` : `not measured: ${layer.skipped}`,
      layer.random ? `${data.other}: ${text(layer.random.mean, 4)}` : ""].filter(Boolean).join(" \u00b7 ");
    by("own-findings").replaceChildren(...layer.findings.map((words) => element("li", {}, words)));
    by("step").replaceChildren();
    for (const [name, to] of [["\u2190 previous", chosen - 1], ["next \u2192", chosen + 1]]) {
      if (!layers[to]) continue;
      const button = element("button", { type: "button", class: "link" }, name);
      button.addEventListener("click", () => { select(to, false); by("name").focus({ preventScroll: true }); });
      by("step").append(button);
    }
    by("panels").replaceChildren();
    by("numbers").replaceChildren();
    if (!own) return;
    const sides = [["own", "this model", own], ["random", data.other, layer.random]].filter(([, , n]) => n);
    const numbers = [], panels = [];
    for (const kind of data.curves) {
      const found = sides.filter(([, , n]) => n[kind] && n[kind].n);
      if (!own[kind] || !own[kind].n) continue;
      const [title, x, y, caption] = CURVES[kind];
      const said = ([, name, n]) => `${name}: most ${text(n[kind].quartiles[4])}, median ${text(n[kind].quartiles[2])}, least ${text(n[kind].quartiles[0])}`;
      found.forEach(([, name, n]) => numbers.push([title, name, n[kind]]));
      if (own[kind].n < 2) continue; // a curve of one point says nothing; the table has its value
      const series = found.map(([look, , n]) => ({ ...n[kind], look }));
      const words = { x, y: y || layer.unit, alt: `${title}. ${found.map(said).join("; ")}` };
      panels.push([title, (width) => figure(caption, chart(series, { ...words, width }), legend(found.map(([look, name]) => [look, name])))]);
    }
    const pairs = sides.filter(([, , n]) => n.cosines);
    if (own.cosines) {
      const shown = own.outputs.length, all = own.norms.n;
      const which = shown < all ? `${shown} of ${all} outputs, evenly spaced. ` : "";
      const words = "Each cell is the absolute cosine between the weights of two outputs: their correlation for white inputs. Strong colour off the diagonal: outputs that repeat each other.";
      const matrices = () => element("div", { class: "pair" }, ...pairs.map(([, name, n]) => matrix(n, name)));
      panels.push(["Redundancy of the outputs", () => figure(which + words, matrices(), scale())]);
    }
    // The width of a panel depends on how many there are.
    const places = panels.map(([title]) => element("section", {}, element("h3", {}, title)));
    by("panels").replaceChildren(...places);
    places.forEach((place, i) => place.append(panels[i][1](place.clientWidth)));
    if (!numbers.length) return;
    const box = table(numbers);
    by("numbers").append(box);
    if (box.scrollWidth > box.clientWidth) box.querySelector("caption").append(": scroll sideways \u2192");
  }

  function select(index, go) {
    chosen = index;
    for (const row of rows) {
      const own = Number(row.dataset.i) === index;
      row.classList.toggle("chosen", own);
      row.querySelector("button").setAttribute("aria-pressed", String(own));
    }
    mark();
    detail();
    epochs();
    by("said").textContent = `Details of ${layers[index].name} are shown.`;
    const far = by("detail").getBoundingClientRect();
    if (go && (far.top > innerHeight * 0.8 || far.bottom < 0)) {
      by("detail").scrollIntoView({ behavior: calm.matches ? "auto" : "smooth", block: "start" });
    }
  }

  function sort(header) {
    const column = header.cellIndex;
    const before = header.getAttribute("aria-sort");
    const down = before ? before === "ascending" : header.dataset.first === "descending";
    for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.v;
    const numeric = header.classList.contains("number");
    const compare = numeric ? (a, b) => Number(key(a)) - Number(key(b)) : (a, b) => key(a).localeCompare(key(b), "en", { numeric: true });
    const last = (row) => key(row) === "";
    rows.sort((a, b) => last(a) - last(b) || (down ? compare(b, a) : compare(a, b)) || a.dataset.i - b.dataset.i);
    by("table").tBodies[0].append(...rows);
    by("said").textContent = `Sorted by ${header.textContent.trim()}, ${header.getAttribute("aria-sort")}.`;
  }

  function search() {
    const words = by("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const layer = layers[row.dataset.i];
      const whole = `${layer.name} ${layer.kind} ${row.cells[row.cells.length - 1].textContent}`.toLowerCase();
      row.hidden = !words.every((word) => whole.includes(word));
      shown += !row.hidden;
    }
    by("count").textContent = words.length ? `${shown} of ${rows.length} weights` : `${rows.length} weights`;
  }

  for (const row of rows) {
    row.addEventListener("click", () => select(Number(row.dataset.i), true));
    row.querySelector("button").addEventListener("keydown", (event) => {
      const way = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!way) return;
      const shown = rows.filter((r) => !r.hidden);
      const next = shown[shown.indexOf(row) + way];
      if (next) { event.preventDefault(); next.querySelector("button").focus(); }
    });
  }
  for (const header of by("table").tHead.rows[0].cells) header.querySelector("button").addEventListener("click", () => sort(header));
  for (const link of document.querySelectorAll("button[data-layer]")) link.addEventListener("click", () => { select(Number(link.dataset.layer), true); by("name").focus({ preventScroll: true }); });
  by("search").addEventListener("input", search);

  function redraw() { overview(); epochs(); if (chosen !== null) detail(); }
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; redraw(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  search();
  overview();
  if (layers.length) select(data.first, false); else epochs();
  by("said").textContent = "";
})();
