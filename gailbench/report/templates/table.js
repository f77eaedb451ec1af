"use strict";
// The tables: sorting, filtering, folding what has no runs, and the cue that there is more aside.
const hiddenValues = { task: new Set(), algorithm: new Set() };
let folded = $("fold") !== null;

function filter() {
  for (const button of document.querySelectorAll(".filter")) {
    const { kind, value } = button.dataset;
    button.setAttribute("aria-pressed", String(!hiddenValues[kind].has(value)));
  }
  for (const row of document.querySelectorAll("tr[data-task]")) {
    const absent = folded && row.classList.contains("absent");
    row.hidden = absent || hiddenValues.task.has(row.dataset.task);
  }
  for (const part of document.querySelectorAll(".cells [data-algorithm]")) {
    part.hidden = hiddenValues.algorithm.has(part.dataset.algorithm);
  }
  for (const table of document.querySelectorAll(".cells")) {
    table.hidden = ![...table.querySelectorAll("tbody tr")].some((row) => !row.hidden);
  }
  if ($("fold")) $("fold").setAttribute("aria-expanded", String(!folded));
  cues();
}
function sortTable(table, key, rising) {
  const value = (row) => {
    if (!key) return Number(row.dataset.order);
    if (key === "task") return row.dataset.task;
    if (key === "trajectories") return Number(row.dataset.trajectories);
    const ofKey = (c) => c.dataset.method === key || c.dataset.algorithm === key;
    const cell = [...row.querySelectorAll(".cell")].find(ofKey);
    return cell && cell.dataset.score !== "" ? Number(cell.dataset.score) : null;
  };
  const rows = [...table.tBodies[0].rows].map((row) => [value(row), row]);
  rows.sort(([a, x], [b, y]) => {
    const before = x.dataset.order - y.dataset.order;
    if (a === null || b === null) return (a === null) - (b === null) || before;
    const order = typeof a === "string" ? a.localeCompare(b) : a - b;
    return (rising ? order : -order) || before;
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
  for (const head of table.querySelectorAll("th[data-sort]")) {
    const mine = key && (head.dataset.sort === key || head.dataset.algorithm === key);
    if (mine) head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
}
// The first press shows a value alone, the next ones add to it or take away.
function choose(button) {
  const { kind, value } = button.dataset;
  const values = hiddenValues[kind];
  const all = [...document.querySelectorAll(`.filter[data-kind="${kind}"]`)];
  if (values.size === 0) {
    for (const other of all) if (other !== button) values.add(other.dataset.value);
  } else if (values.has(value)) values.delete(value);
  else values.add(value);
  if (values.size === all.length) values.clear();
  if (kind === "task" && values.size) folded = false; // who asks for a task sees its rows
  filter();
}

// Whatever scrolls sideways says so while there is more.
function cue(scroller) {
  const more = scroller.scrollWidth - scroller.clientWidth - scroller.scrollLeft > 4;
  scroller.classList.toggle("more", more);
  const text = scroller.previousElementSibling;
  if (text && text.classList.contains("cue")) text.hidden = !more;
}
function cues() {
  for (const scroller of document.querySelectorAll(".scroll, .charts")) cue(scroller);
}

for (const scroller of document.querySelectorAll("main .scroll, main .charts")) {
  const attributes = { class: "cue small", "aria-hidden": "true" };
  const text = element("p", attributes, "more to the right →");
  text.hidden = true;
  scroller.before(text);
  scroller.addEventListener("scroll", () => cue(scroller), { passive: true });
}
addEventListener("resize", cues);
for (const button of document.querySelectorAll(".filter")) {
  button.addEventListener("click", () => choose(button));
}
$("all").addEventListener("click", () => {
  hiddenValues.task.clear();
  hiddenValues.algorithm.clear();
  filter();
});
if ($("fold")) {
  $("fold").addEventListener("click", () => {
    folded = !folded;
    filter();
  });
}
const isText = (key) => key === "task" || key === "trajectories";
for (const head of document.querySelectorAll("th[data-sort]")) {
  head.querySelector("button").addEventListener("click", () => {
    const before = head.getAttribute("aria-sort");
    const rising = before ? before !== "ascending" : isText(head.dataset.sort);
    sortTable(head.closest("table"), head.dataset.sort, rising);
  });
}
$("sort").addEventListener("change", () => {
  const key = $("sort").value;
  for (const table of document.querySelectorAll(".cells")) {
    sortTable(table, key, key === "" || isText(key));
  }
});
$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)").matches;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : system;
  root.dataset.theme = dark ? "light" : "dark";
});
$("controls-fold").open = innerWidth > 700; // a small screen opens what it wants to see
$("controls-fold").addEventListener("toggle", cues);
filter();
