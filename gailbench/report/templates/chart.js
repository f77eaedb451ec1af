"use strict";
// Elements, numbers, one chart, and the sections of the page that are charts.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const NAMES = {
  return_mean: "true return",
  discriminator_loss: "discriminator loss (nats)",
  expert_accuracy: "accuracy on the expert's pairs",
  policy_accuracy: "accuracy on the policy's pairs",
  jensen_shannon: "Jensen-Shannon divergence, lower bound (nats)",
  kl: "KL of the policy's steps (nats)",
  entropy: "entropy (nats)",
};
const STEPS = "million environment steps";
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const trajectories = (number) => `${number} trajector${number === 1 ? "y" : "ies"}`;

// Text only, so that no label is ever markup.
function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
function shape(name, attributes = {}, text = null) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "stroke" || key === "fill") node.style[key] = value;
    else node.setAttribute(key, value);
  }
  if (text !== null) node.textContent = text;
  return node;
}
function format(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const text = value.toFixed(size >= 1000 ? 0 : size >= 100 ? 1 : 2);
  return Number(text) === 0 ? text.replace("-", "") : text;
}
const spread = (mean, std) => (mean === null ? "–" : `${format(mean)} ± ${format(std)}`);

function ticks(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) {
    found.push(Number(v.toPrecision(12)));
  }
  return found;
}

// An axis of scores: as they are above 0, logarithmic below, as in the figures.
const BEND = 0.35;
const bent = (score) => (score < 0 ? -BEND * Math.log1p(-score / BEND) : score);
const SCORE_TICKS = [-100, -10, -1, 0, 0.5, 1];

// The least and the greatest of what a chart shows, with room around it.
function ends(spec) {
  const xs = [], ys = [];
  const add = (x, ...values) => { xs.push(x); ys.push(...values); };
  for (const s of spec.series || []) {
    for (const [x, y] of s.points) if (y !== null) add(x, y);
    for (const [x, low, high] of s.band || []) add(x, low, high);
  }
  for (const mark of spec.marks || []) add(mark.x, mark.y);
  for (const bar of spec.bars || []) add(bar.x, bar.low, bar.high);
  for (const level of spec.levels || []) if (level !== null) ys.push(level);
  let [x0, x1] = spec.x || [Math.min(...xs), Math.max(...xs)];
  let [y0, y1] = spec.y || [Math.min(...ys), Math.max(...ys)];
  if (!Number.isFinite(x0)) [x0, x1] = [0, 1];
  if (!Number.isFinite(y0)) [y0, y1] = [0, 1];
  if (x0 === x1) { x0 -= 0.5; x1 += 0.5; }
  if (y0 === y1) { y0 -= 0.5; y1 += 0.5; }
  const pad = spec.y ? 0 : (y1 - y0) * 0.06;
  return { x0, x1, y0: y0 - pad, y1: y1 + pad };
}

// One chart, from
//   series: {points: [[x, y or null]], color, pale, dots: "solid" or "hollow", steps,
//            band: [[x, low, high]]}: lines; a band of one point is a bar
//   marks: {x, y, color, kind: "dot", "mean" or "theirs"}
//   bars: {x, low, mid, high, color}: intervals
//   levels: [y]: gray lines; x, y: [low, high]; scores: the axis of scores
//   xLabels: [[x, text]]; xTitle; width, height; pale: it stands back
function chart(title, spec) {
  const width = spec.width || 300, height = spec.height || 180;
  const left = 46, right = 14, top = 8, bottom = spec.xTitle ? 37 : 22;
  const { x0, x1, y0, y1 } = ends(spec);
  const map = spec.scores ? bent : (y) => y;
  const px = (x) => left + ((x - x0) / (x1 - x0)) * (width - left - right);
  const inside = (y) => Math.min(Math.max(y, y0), y1);
  const share = (y) => (map(inside(y)) - map(y0)) / (map(y1) - map(y0));
  const py = (y) => height - bottom - share(y) * (height - top - bottom);
  const box = `0 0 ${width} ${height}`;
  const svg = shape("svg", { viewBox: box, role: "img", "aria-label": title });
  const line = (attributes) => svg.append(shape("line", attributes));
  const foot = height - bottom;
  line({ class: "axis", x1: left, x2: left, y1: top, y2: foot });
  line({ class: "axis", x1: left, x2: width - right, y1: foot, y2: foot });
  const shown = spec.scores ? SCORE_TICKS.filter((y) => y >= y0 && y <= y1) : ticks(y0, y1, 4);
  for (const tick of shown) {
    line({ class: "axis", x1: left - 3, x2: left, y1: py(tick), y2: py(tick) });
    const place = { x: left - 5, y: py(tick) + 4, "text-anchor": "end" };
    svg.append(shape("text", place, String(Number(tick.toPrecision(6)))));
  }
  for (const [x, text] of spec.xLabels || ticks(x0, x1, 4).map((v) => [v, String(v)])) {
    line({ class: "axis", x1: px(x), x2: px(x), y1: foot, y2: foot + 3 });
    svg.append(shape("text", { x: px(x), y: foot + 14, "text-anchor": "middle" }, text));
  }
  if (spec.xTitle) {
    const place = { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" };
    svg.append(shape("text", place, spec.xTitle));
  }
  for (const level of spec.levels || []) {
    if (level === null) continue;
    line({ class: "level", x1: left, x2: width - right, y1: py(level), y2: py(level) });
  }
  for (const s of spec.series || []) drawSeries(svg, s, px, py);
  for (const mark of spec.marks || []) {
    const place = { class: mark.kind, cx: px(mark.x).toFixed(1), cy: py(mark.y).toFixed(1) };
    if (mark.kind === "theirs") svg.append(shape("circle", { ...place, r: 3 }));
    else {
      const look = mark.kind === "mean" ? { r: 3.4 } : { r: 1.6, "fill-opacity": 0.35 };
      svg.append(shape("circle", { ...place, ...look, fill: mark.color }));
    }
  }
  for (const bar of spec.bars || []) {
    const style = { stroke: bar.color, "stroke-width": 2.5 };
    line({ x1: px(bar.x), x2: px(bar.x), y1: py(bar.low), y2: py(bar.high), ...style });
    line({ x1: px(bar.x) - 4, x2: px(bar.x) + 4, y1: py(bar.mid), y2: py(bar.mid), ...style });
  }
  const figure = element("figure", spec.pale ? { class: "pale" } : {});
  figure.append(element("figcaption", {}, title), svg);
  return figure;
}

function drawSeries(svg, s, px, py) {
  const at = (x, y) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`;
  if (s.bars) {
    for (const [x, low, high] of s.band || []) {
      const place = { x1: px(x), x2: px(x), y1: py(low), y2: py(high) };
      svg.append(shape("line", { ...place, stroke: s.color, "stroke-width": 2, opacity: 0.5 }));
    }
  } else if (s.band && s.band.length > 1) {
    const up = s.band.map(([x, , high]) => at(x, high));
    const down = s.band.map(([x, low]) => at(x, low)).reverse();
    const points = [...up, ...down].join(" ");
    svg.append(shape("polygon", { points, fill: s.color, "fill-opacity": 0.18 }));
  }
  let path = "", before = null;
  const circles = [];
  for (const [x, y] of s.points) {
    if (y === null) { before = null; continue; }
    if (before !== null && s.steps) path += `H${px(x).toFixed(1)}V${py(y).toFixed(1)}`;
    else path += `${before === null ? "M" : "L"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`;
    before = y;
    const place = { cx: px(x), cy: py(y), r: 3 };
    if (s.dots === "solid") circles.push(shape("circle", { ...place, fill: s.color }));
    if (s.dots === "hollow") circles.push(shape("circle", { ...place, class: "theirs" }));
  }
  const style = { stroke: s.color, fill: "none", "stroke-width": s.pale ? 1.2 : 1.8 };
  svg.append(shape("path", { d: path, ...style, opacity: s.pale ? 0.7 : 1 }), ...circles);
}

// A legend: [text, color or null, kind: "line", "solid", "hollow" or "level"].
function legend(place, entries) {
  $(place).replaceChildren(...entries.map(([text, color, kind]) => {
    const swatch = element("span", { class: `swatch ${kind}` });
    if (color) swatch.style.setProperty("--color", color);
    return element("span", {}, swatch, text);
  }));
}
const methodsOf = (names, kind) =>
  names.map((name) => [name, data.styles[name] || "var(--soft)", kind]);
const ENDS = ["random and expert", null, "level"];

function quantile(sorted, share) {
  const at = (sorted.length - 1) * share, low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}
// Seeds averaged point by point; all runs of a cell have the same iterations. The band goes from
// the lowest to the highest return; of a diagnostic, which jumps, it is the middle half of seeds.
function averaged(curves, quantity) {
  const having = curves.filter((curve) => curve && curve[quantity]);
  if (!having.length) return null;
  const points = [], band = [], edge = quantity === "return_mean" ? 0 : 0.25;
  for (let i = 0; i < Math.max(...having.map((c) => c.steps.length)); i++) {
    const known = (v) => v !== null && v !== undefined;
    const values = having.map((curve) => curve[quantity][i]).filter(known);
    const steps = having.map((curve) => curve.steps[i]).find((v) => v !== undefined);
    if (!values.length) continue;
    values.sort((a, b) => a - b);
    points.push([steps, values.reduce((a, b) => a + b) / values.length]);
    if (having.length > 1) band.push([steps, quantile(values, edge), quantile(values, 1 - edge)]);
  }
  return { points, band };
}
function curveSeries(curves, quantity, color) {
  const found = averaged(curves, quantity);
  return found ? [{ ...found, color }] : [];
}

// A cell's trajectories around x, seeds side by side, spread by the golden ratio; the means of our
// runs over them, those of the paper's runs to the right.
function marksOf(cell, x) {
  const color = data.styles[cell.method], number = cell.runs.length;
  const slot = 0.56 / Math.max(number, 1);
  const place = (i) => x - 0.14 + (i - (number - 1) / 2) * slot;
  const dots = cell.runs.flatMap((run, i) => run.returns.map((y, k) => {
    const aside = (((k * 0.618034) % 1) - 0.5) * slot * 0.8;
    return { x: place(i) + aside, y, color, kind: "dot" };
  }));
  const means = cell.runs.map((run, i) => ({ x: place(i), y: run.mean, color, kind: "mean" }));
  const many = cell.paper_runs.length;
  const theirs = cell.paper_runs.map((y, i) => {
    const aside = many > 1 ? 0.12 * (i / (many - 1) - 0.5) : 0;
    return { x: x + 0.34 + aside, y, kind: "theirs" };
  });
  return [...dots, ...means, ...theirs];
}
const levelsOf = (task) => [data.tasks[task].random, data.tasks[task].expert];

// Scores by size of a task's cells, the paper's hollow beside ours.
function scoresChart(task, cells) {
  const sizes = [...new Set(cells.map((cell) => cell.trajectories))].sort((a, b) => a - b);
  const methods = [...new Set(cells.map((cell) => cell.method))];
  const step = 0.018 * (sizes.at(-1) - sizes[0] || 1);
  const series = [], ours = cells.some((cell) => cell.runs.length && cell.score !== null);
  let lowest = 0;
  methods.forEach((method, i) => {
    const color = data.styles[method];
    const mine = cells.filter((cell) => cell.method === method);
    mine.sort((a, b) => a.trajectories - b.trajectories);
    const right = step * (i + (ours ? 1 : (1 - methods.length) / 2));
    const paper = mine.map((c) => [c.trajectories + right, c.paper_score]);
    series.unshift({ points: paper, color, pale: true, dots: "hollow" });
    const place = (c) => c.trajectories - step * (methods.length - i);
    const band = mine.filter((c) => c.runs.length > 1 && c.score !== null).map((c) => {
      const scores = c.runs.map((run) => run.score);
      return [place(c), Math.min(...scores), Math.max(...scores)];
    });
    const points = mine.map((c) => [place(c), c.score]);
    series.push({ points, color, dots: "solid", band, bars: true });
    const lows = mine.flatMap((c) => [c.score, c.paper_score]).filter((v) => v !== null);
    lowest = Math.min(lowest, ...band.map(([, low]) => low), ...lows);
  });
  const labels = sizes.map((size) => [size, String(size)]);
  const edge = step * (methods.length + 1.5);
  return chart(ours ? task : `${task} (the paper's alone)`, {
    series, levels: [0, 1], scores: true, pale: !ours,
    x: [sizes[0] - edge, sizes.at(-1) + edge], y: [1.3 * lowest - 0.12, 1.25],
    xLabels: labels, xTitle: "trajectories", height: 190,
  });
}
const tasksOf = (cells) => [...new Set(cells.map((cell) => cell.task))];
const namesOf = (cells) => {
  const names = new Set(cells.map((cell) => cell.method));
  return Object.keys(data.styles).filter((name) => names.has(name));
};
const SCORES_LEGEND = [["the paper's", null, "hollow"], ENDS];

// The paper's Figure 1.
function drawScores() {
  const cells = data.cells.filter((cell) => !cell.aside);
  legend("methods", [...methodsOf(namesOf(cells), "solid"), ...SCORES_LEGEND]);
  for (const task of tasksOf(cells)) {
    $("figure1").append(scoresChart(task, cells.filter((cell) => cell.task === task)));
  }
}

// Runs that are not the paper's experiment, beside the table's of the same task and algorithm.
function drawOthers() {
  const others = data.cells.filter((cell) => cell.aside);
  const like = (a, b) => a.task === b.task && a.algorithm === b.algorithm;
  const cells = data.cells.filter((cell) => others.some((other) => like(cell, other)));
  const scored = tasksOf(others.filter((cell) => cell.score !== null));
  const shown = cells.filter((cell) => scored.includes(cell.task));
  if (!scored.length) return;
  legend("others-legend", [...methodsOf(namesOf(shown), "solid"), ...SCORES_LEGEND]);
  for (const task of scored) {
    $("other-scores").append(scoresChart(task, shown.filter((cell) => cell.task === task)));
  }
}

// One task: every trajectory, and curves. Runs that are not the paper's experiment have charts of
// their own, beside the table's of the same algorithm.
function chartsOfTask(cells) {
  const sizes = [...new Set(cells.map((cell) => cell.trajectories))].sort((a, b) => a - b);
  return sizes.flatMap((size) => {
    const here = cells.filter((cell) => cell.trajectories === size);
    const aside = here.filter((cell) => cell.aside), table = here.filter((cell) => !cell.aside);
    const like = table.filter((cell) => aside.some((own) => own.algorithm === cell.algorithm));
    const title = trajectories(size);
    return [
      { title, shown: table, aside },
      { title: table.length ? `${title}, other runs` : title, shown: [...like, ...aside], aside },
    ].filter(({ shown }, i) => (i === 0 ? table.length : aside.length));
  });
}
// The table's curves end where the others beside them do.
function lastStep(cells) {
  const ends = cells.flatMap((cell) => cell.runs.map((run) => run.curve?.steps.at(-1) ?? 0));
  return Math.max(...ends, 0) || Infinity;
}
function drawTask() {
  const task = $("task-choice").value, quantity = $("quantity").value;
  const cells = data.cells.filter((cell) => cell.task === task);
  const all = [
    ...levelsOf(task).filter((v) => v !== null),
    ...cells.flatMap((cell) => [...cell.runs.flatMap((run) => run.returns), ...cell.paper_runs]),
  ];
  const lowest = Math.min(...all), highest = Math.max(...all);
  const pad = 0.04 * (highest - lowest) || 0.5;
  $("strips").replaceChildren();
  $("curves").replaceChildren();
  const drawn = new Set();
  for (const { title, shown, aside } of chartsOfTask(cells)) {
    const fits = (name) => name.length * 5.5 < 240 / shown.length;
    $("strips").append(chart(title, {
      marks: shown.flatMap((cell, i) => marksOf(cell, i)), levels: levelsOf(task), height: 210,
      x: [-0.5, shown.length - 0.45], y: [lowest - pad, highest + pad],
      xLabels: shown.map((cell, i) => [i, fits(cell.short) ? cell.short : ""]),
    }));
    const last = shown.some((cell) => cell.aside) ? lastStep(aside) : Infinity;
    const series = shown.flatMap((cell) => {
      const curves = cell.runs.map((run) => run.curve);
      const found = curveSeries(curves, quantity, data.styles[cell.method]);
      if (found.length) drawn.add(cell.method);
      const before = ([step]) => step <= last;
      return found.map(({ points, band, ...look }) => {
        return { points: points.filter(before), band: band.filter(before), ...look };
      });
    });
    const levels = quantity === "return_mean" ? levelsOf(task) : [];
    if (series.length) $("curves").append(chart(title, { series, levels, xTitle: STEPS }));
  }
  legend("strips-legend", [
    ...methodsOf(namesOf(cells), "solid"), ["the paper's runs", null, "hollow"], ENDS,
  ]);
  legend("curves-legend", [
    ...methodsOf([...drawn], "line"), ...(quantity === "return_mean" && drawn.size ? [ENDS] : []),
  ]);
  if (!drawn.size) $("curves").append(element("p", {}, "No curves of this quantity yet."));
}

function drawSeeds() {
  const methods = [...new Set(data.iqm.map((row) => row.method))];
  const ranks = data.ranks.filter((rank) => data.iqm.some((row) => row.rank === rank));
  const series = [], bars = [];
  methods.forEach((method, i) => {
    const color = data.styles[method] || "var(--ink)";
    const shift = 0.07 * (i - (methods.length - 1) / 2);
    const place = (row) => ranks.indexOf(row.rank) + shift;
    const rows = data.iqm.filter((row) => row.method === method);
    series.push({ points: rows.map((row) => [place(row), row.value]), color, dots: "solid" });
    for (const { low, value, high, ...row } of rows) {
      if (low !== null) bars.push({ x: place(row), low, mid: value, high, color });
    }
  });
  legend("seeds-legend", methodsOf(methods, "line"));
  const size = { width: 420, height: 250 };
  $("iqm").append(chart("Interquartile mean by size", {
    series, bars, x: [-0.3, ranks.length - 0.7], ...size,
    xLabels: ranks.map((rank, i) => [i, rank]), xTitle: "size of the demonstrations",
  }));
  const profiles = Object.entries(data.profiles).map(([method, points]) => {
    return { points, color: data.styles[method] || "var(--ink)", steps: true };
  });
  $("profiles").append(chart("Performance profile: share of runs above a score", {
    series: profiles, y: [0, 1.02], xTitle: "normalized score", ...size,
  }));
}

function drawExperts() {
  legend("experts-legend", [["the expert in training", "var(--soft)", "line"], ENDS]);
  for (const [task, curve] of Object.entries(data.experts)) {
    const series = curveSeries([curve], "return_mean", "var(--soft)");
    $("expert-curves").append(chart(task, { series, levels: levelsOf(task), xTitle: STEPS }));
  }
}

drawScores();
for (const task of Object.keys(data.tasks)) {
  $("task-choice").append(element("option", { value: task }, task));
}
const first = data.cells.find((cell) => cell.runs.length);
if (first) $("task-choice").value = first.task;
for (const [key, name] of Object.entries(NAMES)) {
  $("quantity").append(element("option", { value: key }, name));
}
$("task-choice").addEventListener("change", drawTask);
$("quantity").addEventListener("change", drawTask);
drawTask();
if ($("iqm")) drawSeeds();
if ($("other-scores")) drawOthers();
if ($("expert-curves")) drawExperts();
