"use strict";
// A cell's details: a dialog with its runs, and a hint while the pointer is on it.
const byNumber = new Map(data.cells.map((cell) => [cell.number, cell]));
let shownCell = null;

const verdictOf = (cell) =>
  cell.seeds && !cell.verdict ? "no verdict" : data.words[cell.verdict];
function summaryOf(cell) {
  const [difference, low, high] = cell.difference;
  const each = cell.seeds ? Math.round(cell.episodes / cell.seeds) : 0;
  const plural = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
  const lines = [
    `Ours ${spread(cell.mean, cell.std)} (normalized ${format(cell.score)}), ` +
      `${plural(cell.seeds, "seed")} x ${each} trajectories`,
  ];
  if (cell.paper_mean !== null) {
    const score = `normalized ${format(cell.paper_score)}`;
    const runs = plural(cell.training_runs, "training run");
    lines.push(`Paper ${spread(cell.paper_mean, cell.paper_std)} (${score}), ${runs}`);
  }
  if (cell.failures) {
    lines.push(`Runs under half of the median run: ${cell.failures} (Fisher's exact test)`);
  }
  if (difference !== null) {
    const interval = low === null ? "unknown" : `${format(low)} to ${format(high)}`;
    lines.push(`Difference ${format(difference)}, 95 % interval ${interval}`);
  }
  return lines;
}
const runsHeading = [
  "Seed", "Mean return", "Normalized", "Lowest", "Median", "Highest", "Trajectories",
];
function runsTable(cell) {
  const row = (tag, values, attributes = {}) =>
    element("tr", {}, ...values.map((v) => element(tag, attributes, String(v))));
  const rows = cell.runs.map((run) => {
    const sorted = [...run.returns].sort((a, b) => a - b);
    const levels = [sorted[0], quantile(sorted, 0.5), sorted.at(-1)];
    const numbers = [run.mean, run.score, ...levels].map(format);
    return row("td", [run.seed, ...numbers, run.returns.length]);
  });
  const head = element("thead", {}, row("th", runsHeading, { scope: "col" }));
  const table = element("table", { class: "plain" }, head, element("tbody", {}, ...rows));
  return element("div", { class: "scroll" }, table);
}
function stripOf(cell, height) {
  const levels = levelsOf(cell.task);
  return { marks: marksOf(cell, 0), levels, x: [-0.5, 0.5], xLabels: [], height };
}
function chartsOf(cell) {
  const charts = element("div", { class: "charts" });
  charts.append(chart("Evaluation trajectories", stripOf(cell, 190)));
  const curves = cell.runs.map((run) => run.curve).filter(Boolean);
  const color = data.styles[cell.method];
  for (const quantity of Object.keys(NAMES)) {
    if (!curves.some((curve) => curve[quantity])) continue;
    const returns = quantity === "return_mean";
    const series = returns
      ? curves.map((c) => ({ points: c.steps.map((s, i) => [s, c.return_mean[i]]), color }))
      : curveSeries(curves, quantity, color);
    const learning = "True return while learning, a line per seed";
    const title = returns ? learning : capital(NAMES[quantity]);
    const levels = returns ? levelsOf(cell.task) : [];
    charts.append(chart(title, { series, levels, xTitle: STEPS, height: 190 }));
  }
  if (cell.no_curve) charts.append(element("p", { class: "small" }, cell.no_curve));
  return charts;
}
function commandOf(cell) {
  const copy = element("button", { type: "button" }, "Copy");
  copy.addEventListener("click", () => {
    const range = document.createRange();
    range.selectNodeContents(copy.previousElementSibling);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    document.execCommand("copy");
    copy.textContent = "Copied";
  });
  const title = element("h3", {}, cell.runs.length ? "Reproduce it" : "Make it");
  return [title, element("div", {}, element("pre", { id: "command" }, cell.command), copy)];
}

function show(number) {
  const cell = byNumber.get(number);
  shownCell = number;
  const size = trajectories(cell.trajectories);
  $("details-title").textContent = `${cell.task}, ${cell.method}, ${size}`;
  const body = $("details-body");
  const verdict = verdictOf(cell);
  body.replaceChildren(element("div", { class: `verdict v-${cell.verdict || "no-runs"}` },
    element("p", {}, element("b", {}, verdict), cell.seeds ? `: ${cell.reason}.` : ""),
    ...summaryOf(cell).map((text) => element("p", { class: "small" }, text))));
  if (cell.runs.length) {
    body.append(element("p", { class: "legend small", id: "details-legend" }));
    body.append(chartsOf(cell), runsTable(cell));
    legend("details-legend", [
      ...methodsOf([cell.method], "solid"),
      ...(cell.paper_runs.length ? [["the paper's runs", null, "hollow"]] : []), ENDS,
    ]);
  }
  if (cell.command) body.append(...commandOf(cell));
  else if (cell.added) {
    body.append(element("p", { class: "small" }, "Someone else's runs, added with --add."));
  }
  if (!$("details").open) $("details").showModal();
  $("details").scrollTop = 0;
  $("tip").hidden = true;
}
const isSeen = (node) => node.offsetParent !== null;
const seenCells = () => [...document.querySelectorAll(".open-cell")].filter(isSeen);
function step(by) {
  const buttons = seenCells();
  const at = buttons.findIndex((button) => Number(button.dataset.cell) === shownCell);
  const next = buttons[at + by];
  if (next) show(Number(next.dataset.cell));
}

function hover(button, cell) {
  const tip = $("tip");
  const verdict = verdictOf(cell);
  tip.replaceChildren(
    element("b", {}, `${cell.task}, ${cell.method}, ${cell.trajectories}: ${verdict}`),
    ...summaryOf(cell).map((text) => element("div", {}, text)),
  );
  if (cell.seeds) {
    const means = cell.runs.map((run) => `${run.seed}: ${format(run.mean)}`).join(", ");
    tip.append(element("div", { class: "small" }, `${cell.reason}. Seeds: ${means}`));
    tip.append(chart("Trajectories", stripOf(cell, 120)));
  }
  if (cell.command) tip.append(element("code", {}, cell.command));
  tip.hidden = false;
  const at = button.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(at.left, innerWidth - tip.offsetWidth - 8))}px`;
  const below = at.bottom + 6, above = at.top - tip.offsetHeight - 6;
  tip.style.top = `${below + tip.offsetHeight < innerHeight ? below : Math.max(4, above)}px`;
}
// Arrow keys walk the table.
function move(event, button) {
  const keys = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  if (!(event.key in keys)) return;
  const [down, right] = keys[event.key];
  const row = button.closest("tr");
  const withCells = (r) => isSeen(r) && r.querySelector(".open-cell");
  const rows = [...document.querySelectorAll("tbody tr")].filter(withCells);
  const inRow = (r) => [...r.querySelectorAll(".open-cell")].filter(isSeen);
  const column = inRow(row).indexOf(button);
  const target = rows[rows.indexOf(row) + down];
  const next = target && (inRow(target)[column + right] || (down ? inRow(target).at(-1) : null));
  event.preventDefault();
  if (next) next.focus();
}

function bindCell(button) {
  const number = Number(button.dataset.cell);
  const hint = () => hover(button, byNumber.get(number));
  const away = () => { $("tip").hidden = true; };
  button.addEventListener("click", () => show(number));
  button.addEventListener("pointerenter", (event) => {
    if (event.pointerType === "mouse") hint();
  });
  button.addEventListener("pointerleave", away);
  button.addEventListener("focus", () => { if (button.matches(":focus-visible")) hint(); });
  button.addEventListener("blur", away);
  button.addEventListener("keydown", (event) => move(event, button));
}
for (const button of document.querySelectorAll(".open-cell")) bindCell(button);
$("close").addEventListener("click", () => $("details").close());
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("details").addEventListener("click", (event) => {
  if (event.target === $("details")) $("details").close();
});
$("details").addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
$("details").addEventListener("close", () => {
  const button = document.querySelector(`.open-cell[data-cell="${shownCell}"]`);
  if (button) button.focus({ preventScroll: true });
});
