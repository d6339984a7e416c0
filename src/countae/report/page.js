"use strict";
// Figures, sortable tables and the tables of genes. Data come from the JSON scripts of the page.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const geneData = read("genes"), panelData = read("panels");
let figures = read("figures");
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const views = new Map(), repaint = new Map(); // of figures and of pictures of genes, by identifier
const MANY_MARKS = 3000;
const DIRECTION = /[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g; // marks that turn what follows a name
const PAGE = 25;
const MANY_FIGURES = 120; // above, a figure is drawn when it comes near the screen, or to print
// The palette's blue is dim on a dark ground; beside its sky blue it stays, to be told from it.
const DEEP_BLUE = "#0072B2", LIGHT_BLUE = "#3D9BDD", SKY_BLUE = "#56B4E9";

// ---- data ---------------------------------------------------------------------------------
async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// ---- figures ------------------------------------------------------------------------------
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function byRow(node) {
  if (Array.isArray(node)) return node.map(byRow);
  if (node === null || typeof node !== "object") return node;
  if (node.columns && !Array.isArray(node.columns)) {
    const names = Object.keys(node.columns);
    const rows = node.columns[names[0]].map((_, k) =>
      Object.fromEntries(names.map((name) => [name, node.columns[name][k]])));
    return { values: rows };
  }
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, byRow(value)]));
}

function marks(node) {
  if (Array.isArray(node)) return node.reduce((sum, item) => sum + marks(item), 0);
  if (node === null || typeof node !== "object") return 0;
  if (Array.isArray(node.values) && typeof node.values[0] === "object") return node.values.length;
  return Object.values(node).reduce((sum, item) => sum + marks(item), 0);
}

// Every object of a specification but its data, with what a function makes of it.
function eachPart(node, visit) {
  if (node === null || typeof node !== "object") return;
  visit(node);
  for (const [key, item] of Object.entries(node)) if (key !== "data" && key !== "datasets") eachPart(item, visit);
}

// Legends and titles that fit beside the vertical axis: a letter takes seven pixels, a symbol fifty.
const letters = (names) => Math.max(0, ...(Array.isArray(names) ? names : []).map((name) => String(name).length));

function fitted(spec, width) {
  let longest = 1, beside = 6;
  eachPart(spec, (part) => {
    longest = Math.max(longest, letters(part.domain));
    beside = Math.max(beside, letters(part.y && part.y.sort));
  });
  const room = width - Math.min(160, 7 * beside) - 20;
  eachPart(spec, (part) => {
    if (part.x && typeof part.x.title === "string") part.x.title = inLines(part.x.title, room / 7);
  });
  return Math.max(1, Math.min(8, Math.floor(room / (50 + 7 * longest))));
}

function inLines(text, most) {
  return text.split(" ").reduce((lines, word) => {
    const last = lines[lines.length - 1];
    return lines.length && last.length + word.length < most ? [...lines.slice(0, -1), `${last} ${word}`] : [...lines, word];
  }, []);
}

function config() {
  const text = colour("--text"), soft = colour("--soft"), line = colour("--line");
  const font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
  return {
    background: "transparent", font,
    view: { stroke: null },
    axis: {
      labelColor: soft, titleColor: text, gridColor: line, domainColor: soft, tickColor: soft,
      gridOpacity: 0.6, labelFontSize: 12, titleFontSize: 12.5, titleFontWeight: 500,
      titlePadding: 8, labelOverlap: "greedy", labelSeparation: 4, labelLimit: 160,
    },
    legend: {
      labelColor: text, titleColor: soft, labelFontSize: 12.5, titleFontWeight: 400,
      symbolSize: 90, labelLimit: 220,
    },
    rule: { color: soft },
  };
}

async function embed(element, own, filled = {}) {
  const text = JSON.stringify(own);
  const lit = dark.matches && !text.includes(SKY_BLUE);
  const spec = byRow(JSON.parse(lit ? text.replaceAll(DEEP_BLUE, LIGHT_BLUE) : text));
  const look = config();
  look.legend.columns = fitted(spec, element.clientWidth);
  const result = await window.vegaEmbed(element, { ...spec, ...filled }, {
    actions: false, defaultStyle: false, config: look, tooltip: { theme: "custom" },
    renderer: marks(spec) > MANY_MARKS ? "canvas" : "svg",
  });
  element.style.minHeight = "0";
  return result;
}

async function draw(element) {
  views.set(element.id, await embed(element, figures[element.id]));
}

// What is in sight is drawn first, all else while the browser is idle: the page opens at once, and
// printing finds everything. Where there is very much, only what comes into sight is drawn.
const started = new Set();

async function fill(element) {
  if (started.has(element)) return;
  started.add(element);
  await (element.dataset.genes ? geneTable(element) : draw(element));
}

function drawAll() {
  const waiting = [...document.querySelectorAll(".plot:not([data-late]), .gene-table")];
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) fill(entry.target);
  }, { rootMargin: "800px" });
  waiting.forEach((element) => near.observe(element));
  if (waiting.length > MANY_FIGURES) waiting.length = 0;
  const idle = window.requestIdleCallback || ((task) => setTimeout(task, 30));
  const next = async () => {
    const element = waiting.shift();
    if (!element) { document.documentElement.dataset.ready = "true"; return; }
    await fill(element);
    idle(next);
  };
  idle(next);
}

function save(content, name) {
  const link = document.createElement("a");
  link.href = typeof content === "string" ? content : URL.createObjectURL(content);
  link.download = name;
  link.click();
}

const fileName = (text) => text.replace(/[^\w.-]+/g, "_");

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-save]");
  if (!button) return;
  const kind = button.dataset.save, name = button.dataset.name;
  if (kind === "text") {
    save(new Blob([document.getElementById(button.dataset.of).textContent], { type: "text/plain" }), fileName(name));
    return;
  }
  const result = views.get(button.dataset.figure);
  if (!result) return;
  save(await result.view.toImageURL(kind, kind === "png" ? 2 : 1), `${fileName(name)}.${kind}`);
});

// One after the other, so that a page that is printed while the theme changes has all its figures.
dark.addEventListener("change", async () => {
  for (const [key, result] of [...views]) {
    if (!result) continue;
    views.delete(key);
    if (repaint.has(key)) await repaint.get(key)();
    else await draw(document.getElementById(key));
    result.finalize();
  }
});

// On paper nothing can be opened.
let closed = [];
window.addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("main details:not([open])")];
  closed.forEach((element) => { element.open = true; });
});
window.addEventListener("afterprint", () => closed.forEach((element) => { element.open = false; }));

// ---- tables in the page -------------------------------------------------------------------
function compare(a, b) {
  const missing = (value) => value === null || value === undefined || value === "";
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

// Values that are missing stay at the end in both directions.
function ordered(items, key, descending) {
  const missing = (value) => value === null || value === undefined || value === "";
  return items.slice().sort((x, y) => {
    const a = key(x), b = key(y), order = compare(a, b);
    return descending && !missing(a) && !missing(b) ? -order : order;
  });
}

function headButton(head, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "sort";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", act);
}

function mark(heads, chosen, descending) {
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  chosen.setAttribute("aria-sort", descending ? "descending" : "ascending");
}

function value(row, column) {
  const text = row.cells[column].dataset.value;
  if (text === undefined) return null;
  return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
}

document.querySelectorAll("table.sortable").forEach((table) => {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    if (![...body.rows].some((row) => row.cells[column].dataset.value !== undefined)) return;
    headButton(head, () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      body.append(...ordered([...body.rows], (row) => value(row, column), descending));
      mark(heads, head, descending);
    });
  });
});

document.querySelectorAll(".show-refitted").forEach((box) => {
  const board = document.getElementById(`${box.dataset.section}-board`);
  const update = () => board.classList.toggle("only-own", !box.checked);
  box.addEventListener("change", update);
  update();
});

// ---- genes --------------------------------------------------------------------------------
const LABELS = {
  gene: "gene", class: "class", best: "best loss", difference: "difference",
  standard_error: "standard error", delta: "δ", mean: "mean", variance: "variance",
  zero_fraction: "zeros", nonzeros: "non-zeros",
  zero_inflation_p: "extra zeros, p", zero_inflation_fdr: "extra zeros, FDR",
  null_log_score: "log score gene mean",
};
const FIRST = ["gene", "class", "best", "difference", "standard_error", "delta", "mean", "variance", "zero_fraction", "nonzeros", "zero_inflation_p", "zero_inflation_fdr"];

function shown(item) {
  if (item === null || item === undefined) return "–";
  if (typeof item !== "number") return String(item).replaceAll("_", " ");
  if (Number.isInteger(item)) return item.toLocaleString("en");
  const size = Math.abs(item);
  if (size < 5e-7) return item.toExponential(1);
  if (size < 5e-5) return item.toFixed(size < 5e-6 ? 6 : 5);
  return item.toFixed(size < 10 ? 4 : size < 100 ? 3 : 1);
}

// A loss by its short name, a class in words.
const LOSSES = Object.assign({}, ...Object.values(geneData).map((table) => table.names));
const named = (item) => LOSSES[item] || shown(item);

function csvField(item) {
  const text = item === null || item === undefined ? "" : String(item);
  // a spreadsheet must not take a gene's name for a formula
  const safe = typeof item === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

async function geneTable(place) {
  const table = geneData[place.dataset.genes];
  const columns = table.columns || await unpacked(table.packed);
  const names = [...FIRST.filter((name) => name in columns), ...Object.keys(columns).filter((name) => !FIRST.includes(name))];
  const every = Array.from({ length: table.n }, (_, k) => k);
  const state = { column: "difference", descending: true, page: 0, rows: every, gene: 0 };
  const panel = genePanel(place.dataset.genes, columns);
  const [search, choice] = [place.querySelector("input"), place.querySelector("select")];
  const head = place.querySelector("thead").insertRow(), body = place.querySelector("tbody");
  const [found, where] = [place.querySelector(".found"), place.querySelector(".pager span")];
  const [previous, next] = [place.querySelector(".previous"), place.querySelector(".next")];
  const numeric = (name) => columns[name].some((item) => typeof item === "number");

  function cell(tag, text, name) {
    const element = document.createElement(tag);
    element.textContent = text;
    if (numeric(name)) element.className = "number";
    return element;
  }
  function choose(k) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "gene";
    button.textContent = columns.gene[k];
    button.setAttribute("aria-pressed", k === state.gene);
    button.addEventListener("click", () => {
      state.gene = k;
      body.querySelectorAll("button.gene").forEach((other) => other.setAttribute("aria-pressed", other === button));
      panel(k);
    });
    return button;
  }
  function page() {
    const pages = Math.max(1, Math.ceil(state.rows.length / PAGE));
    state.page = Math.min(state.page, pages - 1);
    body.replaceChildren(...state.rows.slice(state.page * PAGE, (state.page + 1) * PAGE).map((k) => {
      const row = document.createElement("tr");
      row.append(...names.map((name) => {
        if (name !== "gene") return cell("td", named(columns[name][k]), name);
        const element = cell("th", panel ? "" : columns.gene[k], name);
        element.scope = "row";
        if (panel) element.append(choose(k));
        return element;
      }));
      return row;
    }));
    found.textContent = `${state.rows.length.toLocaleString("en")} of ${table.n.toLocaleString("en")} genes`;
    where.textContent = `Page ${state.page + 1} of ${pages}`;
    previous.disabled = state.page === 0;
    next.disabled = state.page === pages - 1;
  }
  function select() {
    const wanted = search.value.trim().toLowerCase();
    const kept = every.filter((k) =>
      String(columns.gene[k]).toLowerCase().includes(wanted)
      && (!choice.value || columns.class[k] === choice.value));
    state.rows = ordered(kept, (k) => columns[state.column][k], state.descending);
    state.page = 0;
    page();
  }
  const heads = names.map((name) => {
    const element = cell("th", "", name), label = document.createElement("span");
    label.className = "label";
    label.textContent = LABELS[name] || table.labels[name] || name.replaceAll("_", " ");
    element.append(label);
    element.scope = "col";
    head.append(element);
    headButton(element, () => {
      // numbers are most interesting from the top
      state.descending = state.column === name ? !state.descending : numeric(name);
      state.column = name;
      mark(heads, element, state.descending);
      select();
    });
    return element;
  });
  mark(heads, heads[names.indexOf(state.column)], true);
  search.addEventListener("input", select);
  choice.addEventListener("change", select);
  previous.addEventListener("click", () => { state.page -= 1; page(); });
  next.addEventListener("click", () => { state.page += 1; page(); });
  place.querySelector(".csv").addEventListener("click", () => {
    const lines = [names, ...state.rows.map((k) => names.map((name) => columns[name][k]))];
    const text = lines.map((line) => line.map(csvField).join(",")).join("\r\n");
    save(new Blob([text], { type: "text/csv" }), fileName(`${place.dataset.name}_genes.csv`));
  });
  select();
  if (panel) await panel(0);
  place.dataset.ready = "true";
}

// The picture of a gene: its counts, and what each loss expected. It is redrawn in place.
function genePanel(key, columns) {
  const data = panelData[key];
  if (!data) return null;
  const place = document.getElementById(`${key}-gene`), plot = place.querySelector(".plot");
  const [title, facts] = [place.querySelector("h4"), place.querySelector(".facts")];
  const names = Object.keys(columns).filter((name) => name.startsWith("log_score_"));
  const losses = data.losses, unit = data.unit;
  let shares = null;
  async function show(k) {
    const gene = columns.gene[k];
    const words = `Counts of ${gene}, observed and expected by each loss`;
    title.textContent = `${gene.replace(DIRECTION, "")}: observed and expected counts`;
    const said = [
      ["class", named(columns.class[k])], ["observed mean", shown(columns.mean[k])],
      ...names.map((name) => [`log score ${losses[name.slice("log_score_".length)]}`, shown(columns[name][k])]),
    ];
    facts.replaceChildren(...said.map(([name, text]) => {
      const [pair, dt, dd] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
      [dt.textContent, dd.textContent] = [name, text];
      pair.append(dt, dd);
      return pair;
    }));
    place.querySelector(".missing").hidden = k < data.n;
    plot.hidden = k >= data.n;
    if (k >= data.n) return;
    shares = shares || await unpacked(data.packed);
    const names_of = Object.keys(losses), of = (name, bin) => shares[name][bin][k] * unit;
    const last = Math.max(...Object.values(shares).map((bins) => bins.findLastIndex((bin) => bin[k] > 0)));
    const bins = data.bins.slice(0, last + 1).map((_, at) => at);
    const inWords = (share) => `${(100 * share).toFixed(1)} %`;
    const observed = bins.map((at) => ({
      at, from: at - 0.45, to: at + 0.45, share: of("", at), zero: 0,
      said: `${data.bins[at]} counts: ${inWords(of("", at))} of the cells`,
    }));
    const expected = names_of.flatMap((name, j) => bins.map((at) => ({
      at: at + 0.84 * ((j + 0.5) / names_of.length - 0.5), share: of(name, at), loss: losses[name],
      said: `${losses[name]}, ${data.bins[at]} counts: ${inWords(of(name, at))} expected`,
    })));
    const before = views.get(plot.id);
    views.set(plot.id, await embed(plot, data.spec, { description: words, datasets: { observed, expected } }));
    plot.setAttribute("aria-label", `Figure: ${words}`);
    repaint.set(plot.id, () => show(k));
    if (before) before.finalize();
  }
  return show;
}

if (figures.packed) figures = await unpacked(figures.packed);
drawAll();
