"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byNumber = new Map(data.cells.map((cell) => [cell.number, cell]));
  const $ = (id) => document.getElementById(id);
  const NAMES = { return_mean: "true return", discriminator_loss: "discriminator loss", expert_accuracy: "accuracy",
    jensen_shannon: "Jensen-Shannon divergence", kl: "KL of the policy's steps", entropy: "entropy" };

  // Elements: text only, so that no label is ever markup.
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
  function format(value, digits = 2) {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    if (size >= 1000) return value.toFixed(0);
    if (size >= 100) return value.toFixed(1);
    if (size > 0 && size < 0.01) return value.toPrecision(2);
    return value.toFixed(digits);
  }
  const spread = (mean, std) => (mean === null ? "–" : `${format(mean)} ± ${format(std)}`);

  function ticks(low, high, count) {
    const raw = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
    const found = [];
    for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) found.push(Number(v.toPrecision(12)));
    return found;
  }

  // One chart. series: {points: [[x, y or null]], color, dash, band: [[x, low, high]], dots: bool}; levels: gray lines;
  // bars: {x, low, mid, high, color}; marks: [x, y, color] dots; xLabels: [[x, text]].
  function chart(title, spec) {
    const width = spec.width || 300, height = spec.height || 170, left = 46, right = 14, top = 8, bottom = spec.xLabels ? 34 : 24;
    const xs = [], ys = [];
    for (const s of spec.series || []) {
      for (const [x, y] of s.points) if (y !== null) { xs.push(x); ys.push(y); }
      for (const [x, low, high] of s.band || []) { xs.push(x); ys.push(low, high); }
    }
    for (const [x, y] of spec.marks || []) { xs.push(x); ys.push(y); }
    for (const bar of spec.bars || []) { xs.push(bar.x); ys.push(bar.low, bar.high); }
    for (const level of spec.levels || []) if (level !== null) ys.push(level);
    let [x0, x1] = spec.x || [Math.min(...xs), Math.max(...xs)];
    let [y0, y1] = spec.y || [Math.min(...ys), Math.max(...ys)];
    if (!Number.isFinite(x0)) [x0, x1] = [0, 1];
    if (!Number.isFinite(y0)) [y0, y1] = [0, 1];
    if (x0 === x1) { x0 -= 0.5; x1 += 0.5; }
    if (y0 === y1) { y0 -= 0.5; y1 += 0.5; }
    if (!spec.y) { const pad = (y1 - y0) * 0.06; y0 -= pad; y1 += pad; }
    const px = (x) => left + ((x - x0) / (x1 - x0)) * (width - left - right);
    const py = (y) => height - bottom - ((Math.min(Math.max(y, y0), y1) - y0) / (y1 - y0)) * (height - top - bottom);
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
    svg.append(shape("line", { class: "axis", x1: left, x2: left, y1: top, y2: height - bottom }));
    svg.append(shape("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }));
    for (const tick of ticks(y0, y1, 4)) {
      svg.append(shape("line", { class: "axis", x1: left - 3, x2: left, y1: py(tick), y2: py(tick) }));
      svg.append(shape("text", { x: left - 5, y: py(tick) + 4, "text-anchor": "end" }, String(Number(tick.toPrecision(6)))));
    }
    for (const [x, text] of spec.xLabels || ticks(x0, x1, 4).map((x) => [x, String(x)])) {
      const label = shape("text", { x: px(x), y: height - bottom + 14, "text-anchor": "middle" }, text);
      svg.append(shape("line", { class: "axis", x1: px(x), x2: px(x), y1: height - bottom, y2: height - bottom + 3 }), label);
    }
    for (const level of spec.levels || []) {
      if (level !== null) svg.append(shape("line", { class: "level", x1: left, x2: width - right, y1: py(level), y2: py(level) }));
    }
    for (const s of spec.series || []) {
      if (s.band && s.band.length > 1) {
        const up = s.band.map(([x, , high]) => `${px(x).toFixed(1)},${py(high).toFixed(1)}`);
        const down = s.band.map(([x, low]) => `${px(x).toFixed(1)},${py(low).toFixed(1)}`).reverse();
        svg.append(shape("polygon", { points: [...up, ...down].join(" "), fill: s.color, "fill-opacity": 0.15 }));
      } else for (const [x, low, high] of s.band || []) {
        svg.append(shape("line", { x1: px(x), x2: px(x), y1: py(low), y2: py(high), stroke: s.color, "stroke-width": 3, opacity: 0.3 }));
      }
      let path = "", pen = false;
      for (const [x, y] of s.points) {
        if (y === null) { pen = false; continue; }
        path += `${pen ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`;
        pen = true;
        if (s.dots) svg.append(shape("circle", { cx: px(x), cy: py(y), r: 3, fill: s.color }));
      }
      svg.append(shape("path", { d: path, stroke: s.color, fill: "none", "stroke-width": s.dash ? 1.3 : 1.8, ...(s.dash ? { "stroke-dasharray": "4 3" } : {}) }));
    }
    for (const [x, y, color] of spec.marks || []) svg.append(shape("circle", { cx: px(x).toFixed(1), cy: py(y).toFixed(1), r: 2, fill: color, "fill-opacity": 0.5 }));
    for (const bar of spec.bars || []) {
      const style = bar.color ? { stroke: bar.color, "stroke-width": 2.5 } : { class: "bar" };
      svg.append(shape("line", { x1: px(bar.x), x2: px(bar.x), y1: py(bar.low), y2: py(bar.high), ...style }));
      svg.append(shape("line", { x1: px(bar.x) - 4, x2: px(bar.x) + 4, y1: py(bar.mid), y2: py(bar.mid), ...style }));
    }
    return element("figure", {}, element("figcaption", {}, title), svg);
  }

  // Seeds averaged point by point; all runs of a cell have the same iterations.
  function averaged(curves, quantity) {
    const having = curves.filter((curve) => curve && curve[quantity]);
    if (!having.length) return null;
    const points = [], band = [];
    for (let i = 0; i < Math.max(...having.map((c) => c.steps.length)); i++) {
      const values = having.map((curve) => curve[quantity][i]).filter((v) => v !== null && v !== undefined);
      const steps = having.map((curve) => curve.steps[i]).find((v) => v !== undefined);
      if (!values.length) continue;
      points.push([steps, values.reduce((a, b) => a + b) / values.length]);
      if (having.length > 1) band.push([steps, Math.min(...values), Math.max(...values)]);
    }
    return { points, band };
  }
  const dashedToo = { expert_accuracy: "policy_accuracy" };
  function curveSeries(curves, quantity, color) {
    const found = [];
    const main = averaged(curves, quantity);
    if (main) found.push({ ...main, color });
    const second = dashedToo[quantity] && averaged(curves, dashedToo[quantity]);
    if (second) found.push({ points: second.points, color, dash: true });
    return found;
  }
  // Dots of a cell's trajectories around x, seeds side by side, spread by the golden ratio.
  function dots(cell, x) {
    const color = data.styles[cell.method], number = cell.runs.length;
    const slot = 0.64 / Math.max(number, 1);
    return cell.runs.flatMap((run, i) => run.returns.map((value, k) => {
      const place = ((k * 0.618034) % 1) - 0.5;
      return [x + (i - (number - 1) / 2) * slot + place * slot * 0.8, value, color];
    }));
  }
  function paperBar(cell, x) {
    return cell.paper_mean === null ? [] : [{ x, low: cell.paper_mean - cell.paper_std, mid: cell.paper_mean, high: cell.paper_mean + cell.paper_std }];
  }
  const levelsOf = (task) => [data.tasks[task].random, data.tasks[task].expert];

  // The paper's Figure 1.
  function drawScores() {
    for (const [method, color] of Object.entries(data.styles)) {
      const swatch = element("span", { class: "swatch" });
      swatch.style.background = color;
      $("methods").append(element("span", {}, swatch, method));
    }
    $("methods").append(element("span", {}, element("span", { class: "swatch dashed" }), "the paper"));
    for (const task of Object.keys(data.tasks)) {
      const cells = data.cells.filter((cell) => cell.task === task);
      const sizes = [...new Set(cells.map((cell) => cell.trajectories))].sort((a, b) => a - b);
      const series = [];
      for (const method of new Set(cells.map((cell) => cell.method))) {
        const mine = cells.filter((cell) => cell.method === method).sort((a, b) => a.trajectories - b.trajectories);
        const color = data.styles[method];
        series.push({ points: mine.map((c) => [c.trajectories, c.paper_score]), color, dash: true });
        const band = mine.filter((c) => c.runs.length > 1 && c.score !== null)
          .map((c) => [c.trajectories, Math.min(...c.runs.map((r) => r.score)), Math.max(...c.runs.map((r) => r.score))]);
        series.push({ points: mine.map((c) => [c.trajectories, c.score]), color, dots: true, band });
      }
      $("figure1").append(chart(task, { series, levels: [0, 1], y: [-0.5, 1.2], xLabels: sizes.map((s) => [s, String(s)]) }));
    }
  }

  // One task: strips and curves.
  function drawTask() {
    const task = $("task-choice").value, quantity = $("quantity").value;
    const cells = data.cells.filter((cell) => cell.task === task);
    const sizes = [...new Set(cells.map((cell) => cell.trajectories))].sort((a, b) => a - b);
    const ends = [...levelsOf(task).filter((v) => v !== null), ...cells.flatMap((cell) => [...cell.runs.flatMap((run) => run.returns),
      ...paperBar(cell, 0).flatMap((bar) => [bar.low, bar.high])])];
    const lowest = Math.min(...ends), highest = Math.max(...ends), pad = 0.04 * (highest - lowest) || 0.5;
    $("strips").replaceChildren();
    $("curves").replaceChildren();
    for (const size of sizes) {
      const here = cells.filter((cell) => cell.trajectories === size);
      const title = `${size} trajector${size === 1 ? "y" : "ies"}`;
      $("strips").append(chart(title, {
        marks: here.flatMap((cell, i) => dots(cell, i)), bars: here.flatMap((cell, i) => paperBar(cell, i + 0.43)),
        levels: levelsOf(task), x: [-0.5, here.length - 0.4], y: [lowest - pad, highest + pad], height: 210,
        xLabels: here.map((cell, i) => [i, cell.method.replace("GAIL λ = ", "λ ")]),
      }));
      const series = here.flatMap((cell) => curveSeries(cell.runs.map((run) => run.curve), quantity, data.styles[cell.method]));
      if (series.length) $("curves").append(chart(title, { series, levels: quantity === "return_mean" ? levelsOf(task) : [] }));
    }
    if (!$("curves").children.length) $("curves").append(element("p", {}, "No curves of this quantity yet."));
  }

  function drawSeeds() {
    if ($("iqm")) {
      const methods = [...new Set(data.iqm.map((row) => row.method))];
      const ranks = data.ranks.filter((rank) => data.iqm.some((row) => row.rank === rank));
      const series = [], bars = [];
      methods.forEach((method, i) => {
        const color = data.styles[method] || "var(--ink)", shift = 0.07 * (i - (methods.length - 1) / 2);
        const rows = data.iqm.filter((row) => row.method === method);
        const place = (row) => ranks.indexOf(row.rank) + shift;
        series.push({ points: rows.map((row) => [place(row), row.value]), color, dots: true });
        for (const row of rows) if (row.low !== null) bars.push({ x: place(row), low: row.low, mid: row.value, high: row.high, color });
      });
      $("iqm").append(chart("Interquartile mean by size", { series, bars, x: [-0.3, ranks.length - 0.7], width: 420, height: 240, xLabels: ranks.map((r, i) => [i, r]) }));
      const profiles = Object.entries(data.profiles).map(([method, points]) => ({ points, color: data.styles[method] || "var(--ink)" }));
      $("profiles").append(chart("Performance profile: share of runs above a score", { series: profiles, y: [0, 1], width: 420, height: 240 }));
    }
    if ($("expert-curves")) for (const [task, curve] of Object.entries(data.experts)) {
      $("expert-curves").append(chart(task, { series: curveSeries([curve], "return_mean", "var(--soft)"), levels: levelsOf(task) }));
    }
  }

  // A cell's details.
  let shown = null;
  function summaryOf(cell) {
    const [difference, low, high] = cell.difference;
    const lines = [`Ours ${spread(cell.mean, cell.std)} (normalized ${format(cell.score)}), ${cell.seeds} seed${cell.seeds === 1 ? "" : "s"} x ${cell.seeds ? Math.round(cell.episodes / cell.seeds) : 0} trajectories`];
    if (cell.paper_mean !== null) lines.push(`Paper ${spread(cell.paper_mean, cell.paper_std)} (normalized ${format(cell.paper_score)}), ${cell.training_runs} training run${cell.training_runs === 1 ? "" : "s"}`);
    if (cell.failures) lines.push(`Runs under half of the median run: ${cell.failures} (Fisher's exact test)`);
    if (difference !== null) lines.push(`Difference ${format(difference)}, 95 % interval ${low === null ? "unknown" : `${format(low)} to ${format(high)}`}`);
    return lines;
  }
  const verdictClass = (cell) => `v-${cell.verdict || "no-runs"}`;
  function show(number) {
    const cell = byNumber.get(number);
    shown = number;
    $("details-title").textContent = `${cell.task}, ${cell.method}, ${cell.trajectories} trajector${cell.trajectories === 1 ? "y" : "ies"}`;
    const body = $("details-body");
    body.replaceChildren(element("div", { class: `verdict ${verdictClass(cell)}` },
      element("p", {}, element("b", {}, cell.seeds ? data.words[cell.verdict] || "" : "no runs"), cell.seeds ? `: ${cell.reason}.` : ""),
      ...summaryOf(cell).map((line) => element("p", { class: "small" }, line))));
    if (cell.runs.length) {
      const charts = element("div", { class: "charts" });
      charts.append(chart("Evaluation trajectories", { marks: dots(cell, 0), bars: paperBar(cell, 0.43), levels: levelsOf(cell.task), x: [-0.5, 0.6], xLabels: [], height: 190 }));
      const curves = cell.runs.map((run) => run.curve);
      for (const quantity of Object.keys(NAMES)) {
        if (!curves.some((curve) => curve && curve[quantity])) continue;
        const color = data.styles[cell.method];
        const series = quantity === "return_mean"
          ? curves.filter(Boolean).map((curve) => ({ points: curve.steps.map((s, i) => [s, curve.return_mean[i]]), color }))
          : curveSeries(curves, quantity, color);
        charts.append(chart(quantity === "return_mean" ? "True return while learning, a line per seed" : `${NAMES[quantity][0].toUpperCase()}${NAMES[quantity].slice(1)}`, { series, levels: quantity === "return_mean" ? levelsOf(cell.task) : [], height: 190 }));
      }
      if (cell.algorithm === "bc") charts.append(element("p", { class: "small" }, "Behavioral cloning takes no environment steps, so it has no curve of returns."));
      body.append(charts);
      const rows = cell.runs.map((run) => {
        const sorted = [...run.returns].sort((a, b) => a - b);
        return element("tr", {}, ...[run.seed, format(run.mean), format(run.score), format(sorted[0]), format(sorted[Math.floor(sorted.length / 2)]), format(sorted[sorted.length - 1]), run.returns.length].map((v) => element("td", {}, String(v))));
      });
      body.append(element("div", { class: "scroll" }, element("table", { class: "plain" },
        element("thead", {}, element("tr", {}, ...["Seed", "Mean return", "Normalized", "Lowest", "Median", "Highest", "Trajectories"].map((h) => element("th", { scope: "col" }, h)))),
        element("tbody", {}, ...rows))));
    }
    if (cell.command) {
      const copy = element("button", { type: "button" }, "Copy");
      copy.addEventListener("click", () => {
        const range = document.createRange();
        range.selectNodeContents(copy.previousElementSibling);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        document.execCommand("copy");
        copy.textContent = "Copied";
      });
      body.append(element("h3", {}, cell.runs.length ? "Reproduce it" : "Make it"), element("div", {}, element("pre", { id: "command" }, cell.command), copy));
    } else if (cell.added) body.append(element("p", { class: "small" }, "Someone else's runs, added with --add."));
    if (!$("details").open) $("details").showModal();
    $("details").scrollTop = 0;
    $("tip").hidden = true;
  }
  const visibleCells = () => [...document.querySelectorAll(".open-cell")].filter((button) => button.offsetParent !== null);
  function step(by) {
    const buttons = visibleCells();
    const at = buttons.findIndex((button) => Number(button.dataset.cell) === shown);
    const next = buttons[at + by];
    if (next) show(Number(next.dataset.cell));
  }
  function bindCells() {
    for (const button of document.querySelectorAll(".open-cell")) {
      const number = Number(button.dataset.cell);
      button.addEventListener("click", () => show(number));
      button.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") hover(button, byNumber.get(number)); });
      button.addEventListener("pointerleave", () => { $("tip").hidden = true; });
      button.addEventListener("focus", () => { if (button.matches(":focus-visible")) hover(button, byNumber.get(number)); });
      button.addEventListener("blur", () => { $("tip").hidden = true; });
      button.addEventListener("keydown", (event) => move(event, button));
    }
    $("close").addEventListener("click", () => $("details").close());
    $("previous").addEventListener("click", () => step(-1));
    $("next").addEventListener("click", () => step(1));
    $("details").addEventListener("click", (event) => { if (event.target === $("details")) $("details").close(); });
    $("details").addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") step(-1);
      if (event.key === "ArrowRight") step(1);
    });
    $("details").addEventListener("close", () => {
      const button = document.querySelector(`.open-cell[data-cell="${shown}"]`);
      if (button) button.focus({ preventScroll: true });
    });
  }
  function hover(button, cell) {
    const tip = $("tip");
    tip.replaceChildren(element("b", {}, `${cell.task}, ${cell.method}, ${cell.trajectories}: ${cell.seeds ? data.words[cell.verdict] || "not in the paper" : "no runs"}`),
      ...summaryOf(cell).map((line) => element("div", {}, line)));
    if (cell.seeds) {
      tip.append(element("div", { class: "small" }, `${cell.reason}. Seeds: ${cell.runs.map((run) => `${run.seed}: ${format(run.mean)}`).join(", ")}`));
      tip.append(chart("Trajectories", { marks: dots(cell, 0), bars: paperBar(cell, 0.43), levels: levelsOf(cell.task), x: [-0.5, 0.6], xLabels: [], height: 120 }));
    }
    if (cell.command) tip.append(element("code", {}, cell.command));
    tip.hidden = false;
    const at = button.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(at.left, innerWidth - tip.offsetWidth - 8))}px`;
    const below = at.bottom + 6;
    tip.style.top = `${below + tip.offsetHeight < innerHeight ? below : Math.max(4, at.top - tip.offsetHeight - 6)}px`;
  }
  // Arrow keys walk the table.
  function move(event, button) {
    const keys = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (!(event.key in keys)) return;
    const [down, right] = keys[event.key];
    const row = button.closest("tr"), seen = (node) => node.offsetParent !== null;
    const rows = [...document.querySelectorAll(".cells tbody tr")].filter(seen);
    const inRow = (r) => [...r.querySelectorAll(".open-cell")].filter(seen);
    const column = inRow(row).indexOf(button);
    const target = rows[rows.indexOf(row) + down];
    const next = target && (inRow(target)[column + right] || (down ? inRow(target).at(-1) : null));
    event.preventDefault();
    if (next) next.focus();
  }

  // Sorting and filtering.
  const hiddenValues = { task: new Set(), algorithm: new Set() };
  function filter() {
    for (const button of document.querySelectorAll(".filter")) {
      button.setAttribute("aria-pressed", String(!hiddenValues[button.dataset.kind].has(button.dataset.value)));
    }
    for (const row of document.querySelectorAll("tr[data-task]")) row.hidden = hiddenValues.task.has(row.dataset.task);
    for (const part of document.querySelectorAll(".cells [data-algorithm]")) part.hidden = hiddenValues.algorithm.has(part.dataset.algorithm);
    for (const table of document.querySelectorAll(".cells")) table.hidden = ![...table.querySelectorAll("tbody tr")].some((row) => !row.hidden);
  }
  function sortTable(table, key, rising) {
    const value = (row) => {
      if (!key) return Number(row.dataset.order);
      if (key === "task") return row.dataset.task;
      if (key === "trajectories") return Number(row.dataset.trajectories);
      const cell = [...row.querySelectorAll(".cell")].find((c) => c.dataset.method === key || c.dataset.algorithm === key);
      return cell && cell.dataset.score !== "" ? Number(cell.dataset.score) : null;
    };
    const rows = [...table.tBodies[0].rows].map((row) => [value(row), row]);
    rows.sort(([a, x], [b, y]) => {
      if (a === null || b === null) return (a === null) - (b === null) || x.dataset.order - y.dataset.order;
      const order = typeof a === "string" ? a.localeCompare(b) : a - b;
      return (rising ? order : -order) || x.dataset.order - y.dataset.order;
    });
    table.tBodies[0].append(...rows.map(([, row]) => row));
    for (const head of table.querySelectorAll("th[data-sort]")) {
      const mine = key && (head.dataset.sort === key || head.dataset.algorithm === key);
      if (mine) head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  }
  function bindTable() {
    for (const button of document.querySelectorAll(".filter")) {
      button.addEventListener("click", () => {
        const values = hiddenValues[button.dataset.kind], all = document.querySelectorAll(`.filter[data-kind="${button.dataset.kind}"]`);
        if (values.size === 0) for (const other of all) if (other !== button) values.add(other.dataset.value); else values.delete(other.dataset.value);
        else if (values.has(button.dataset.value)) values.delete(button.dataset.value);
        else values.add(button.dataset.value);
        if (values.size === all.length) values.clear();
        filter();
      });
    }
    $("all").addEventListener("click", () => { hiddenValues.task.clear(); hiddenValues.algorithm.clear(); filter(); });
    for (const head of document.querySelectorAll("th[data-sort]")) {
      head.querySelector("button").addEventListener("click", () => {
        const text = head.dataset.sort === "task" || head.dataset.sort === "trajectories";
        const before = head.getAttribute("aria-sort");
        sortTable(head.closest("table"), head.dataset.sort, before ? before !== "ascending" : text);
      });
    }
    $("sort").addEventListener("change", () => {
      const key = $("sort").value;
      for (const table of document.querySelectorAll(".cells")) sortTable(table, key, key === "" || key === "task" || key === "trajectories");
    });
  }

  $("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  bindCells();
  bindTable();
  drawScores();
  for (const task of Object.keys(data.tasks)) $("task-choice").append(element("option", { value: task }, task));
  const first = data.cells.find((cell) => cell.runs.length);
  if (first) $("task-choice").value = first.task;
  for (const [key, name] of Object.entries(NAMES)) $("quantity").append(element("option", { value: key }, name));
  $("task-choice").addEventListener("change", drawTask);
  $("quantity").addEventListener("change", drawTask);
  drawTask();
  drawSeeds();
})();
