// SPDX-License-Identifier: GPL-2.0-only
"use strict";
// The matrix of tests by target. Everything else on the page is there without this script.
// Texts become text nodes and nothing else: the page's policy forbids markup made from text.

const WORDS = {
  p: ["pass", "✓"], f: ["fail", "fail"], s: ["skip", "skip"], x: ["xfail", "xfail"], u: ["xpass", "xpass"],
  e: ["error", "error"], t: ["timeout", "time"], n: ["not run", "–"], c: ["changed", "chg"],
};
const BAD = "fcuet"; // what needs attention, whether or not it fails the run
const BITS = Object.fromEntries([...Object.keys(WORDS)].map((letter, index) => [letter, 1 << index]));
const ABSENT = 0;
const maskOf = (letters) => [...letters].reduce((mask, letter) => mask | BITS[letter], 0);
const BAD_MASK = maskOf(BAD);
const TALLIED = [..."feutnpxs"]; // the order of verdicts in a subject's row
const FEW = 150; // rows up to which everything is open from the start
const CHUNK = 100; // rows that one "show more" adds
const FIRST = 24; // rows shown after a filter, in all subjects together: what a window has

const json = (id) => JSON.parse(document.getElementById(id).textContent);
const data = json("data");
const width = data.targets.length;
const total = data.subjects.reduce((sum, subject) => sum + subject.tests.length, 0);
let logs = null;
let lowerLogs = null;
const byCharacter = new Uint16Array(128);
for (const [letter, bit] of Object.entries(BITS)) byCharacter[letter.charCodeAt(0)] = bit;
for (const subject of data.subjects) {
  // One bit a cell, so that filters are arithmetic; and whether a row holds anything bad.
  const { letters } = subject;
  const cells = subject.cells = new Uint16Array(letters.length);
  const bad = subject.bad = new Uint16Array(subject.tests.length);
  for (let cell = 0, column = 0, row = 0; cell < letters.length; cell++) {
    cells[cell] = byCharacter[letters.charCodeAt(cell)];
    bad[row] |= cells[cell] & BAD_MASK;
    if (++column === width) { column = 0; row++; }
  }
}

const state = {
  query: "", verdicts: new Set(), targets: new Set(), subject: "", changes: false, differences: false,
};
const $ = (id) => document.getElementById(id);

/** Return an element: properties by name, "aria-…" and "data-…" as attributes, children appended. */
function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name.includes("-") || name === "colspan" || name === "scope") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

const numbers = new Intl.NumberFormat("en");
const grouped = (number) => numbers.format(number);

/** Return a name with places where it may be broken. */
function breakable(name) {
  return name.split(/(?<=[-_.@/])/).flatMap((part, index) => (index ? [document.createElement("wbr"), part] : [part]));
}

// ---- the data, unpacked when needed

function logOf(detail) {
  logs ??= json("logs");
  return detail.l === undefined ? "" : logs[detail.l];
}

function detailsOf(subject) {
  if (!subject.map) {
    subject.map = new Map();
    const steps = subject.details || [];
    for (let i = 0, cell = 0, detail = 0; i < steps.length; i += 2) {
      cell += steps[i];
      detail += steps[i + 1];
      subject.map.set(cell, data.details[detail]);
    }
  }
  return subject.map;
}

// ---- the index that searches read: lower case, made once, right after loading

/** Return the lower-cased names of a subject's tests, what each row says, and which logs it has. */
function indexOf(subject) {
  if (subject.index) return subject.index;
  const names = subject.tests.map((test) => `${subject.name} ${test}`.toLowerCase());
  const said = new Array(names.length);
  const rowLogs = new Array(names.length);
  for (const [cell, detail] of detailsOf(subject)) {
    const row = Math.floor(cell / width);
    const words = [detail.m, detail.r, detail.k, detail.i].filter(Boolean).join("\n").toLowerCase();
    said[row] = said[row] === undefined ? words : `${said[row]}\n${words}`;
    if (detail.l !== undefined) (rowLogs[row] ??= []).push(detail.l);
  }
  return subject.index = { names, said, rowLogs };
}

function logsInLowerCase() {
  return lowerLogs ??= (logs ??= json("logs")).map((log) => log.toLowerCase());
}

/** Make the index in tasks of its own, so that nothing waits long: each takes some milliseconds. */
function prepare() {
  const pieces = [...data.subjects.map((subject) => () => indexOf(subject)), logsInLowerCase];
  const next = () => { pieces.shift()(); if (pieces.length) setTimeout(next); };
  setTimeout(next);
}

/** Return the words of the search, each with the logs that hold it. */
function wordsOf(query) {
  return query.toLowerCase().split(/\s+/).filter(Boolean)
    .map((word) => ({ word, inLog: logsInLowerCase().map((log) => log.includes(word)) }));
}

// ---- filters

function filtered() {
  return Boolean(state.query || state.verdicts.size || state.targets.size || state.changes || state.differences);
}

/** Return the numbers of the columns that are shown: of the chosen targets, of all where none is chosen. */
function columnsShown() {
  const all = data.targets.map((_, index) => index);
  const chosen = all.filter((index) => state.targets.has(data.targets[index].name));
  return chosen.length ? chosen : all;
}

/** Return whether each word of the search is in a test's name or in what it says on some target. */
function found(index, row, words) {
  return words.every(({ word, inLog }) => index.names[row].includes(word) || index.said[row]?.includes(word)
    || index.rowLogs[row]?.some((log) => inLog[log]));
}

/** Return the rows of a subject that the filters leave; *words* are those of `wordsOf`. */
function rowsOf(subject, words) {
  const rows = [];
  const count = subject.tests.length;
  const all = !state.targets.size && !state.verdicts.size && !state.changes && !state.differences;
  const mask = state.verdicts.size ? maskOf(state.verdicts) : -1;
  const columns = columnsShown();
  const index = words.length ? indexOf(subject) : null;
  for (let row = 0; row < count; row++) {
    if ((all || wanted(subject, row * width, columns, mask)) && (!index || found(index, row, words))) rows.push(row);
  }
  return rows;
}

function wanted(subject, first, columns, mask) {
  if (state.differences && !differs(subject, first, columns)) return false;
  for (const column of columns) {
    const cell = first + column;
    if (subject.cells[cell] & mask && (!state.changes || (subject.old && cell in subject.old))) return true;
  }
  return false;
}

/** Return whether the targets that have a row's test disagree on it. */
function differs(subject, first, columns) {
  let seen = ABSENT;
  for (const column of columns) {
    const bit = subject.cells[first + column];
    if (bit !== ABSENT && seen !== ABSENT && bit !== seen) return true;
    if (bit !== ABSENT) seen = bit;
  }
  return false;
}

// ---- the table

function head(columns) {
  const cells = columns.map((column) => data.targets[column]).map((target) => make("th", { scope: "col", title: target.label },
    make("span", null, ...breakable(target.label), ...(target.simulated ? [make("small", null, "simulated")] : []))));
  return make("thead", null, make("tr", null, make("th", { scope: "col" }, "test"), ...cells));
}

function tableOf(columns) {
  const table = make("table", { className: "matrix" }, make("caption", { className: "soft", hidden: true },
    "verdict of each test on each target"), head(columns));
  $("matrix").replaceChildren(table);
  stick();
  return table;
}

function draw() {
  const columns = columnsShown();
  const table = tableOf(columns);
  let shown = 0;
  let left = total <= FEW ? total : FIRST;
  const words = wordsOf(state.query);
  for (const subject of data.subjects) {
    if (state.subject && subject.name !== state.subject) continue;
    const rows = rowsOf(subject, words);
    if (!rows.length) continue;
    shown += rows.length;
    const group = new Group(subject, rows, columns);
    table.append(group.body);
    if (group.eager()) left -= group.open(left);
  }
  $("shown").textContent = `${grouped(shown)} of ${grouped(total)} tests`;
  if (!shown) $("matrix").append(make("p", { className: "soft" }, "No test matches."));
}

const CELL = make("td", null, make("button", { type: "button", "aria-expanded": "false" }));

/** One subject: a row that opens and closes it, and the rows of its tests. */
class Group {
  constructor(subject, rows, columns) {
    this.subject = subject;
    this.columns = columns;
    // What needs attention comes first where "show more" hides most rows.
    const calm = filtered() || total <= FEW;
    this.urgent = calm ? rows : rows.filter((row) => subject.bad[row]);
    this.rest = calm ? [] : rows.filter((row) => !subject.bad[row]);
    this.waiting = null;
    this.button = make("button", { type: "button", "aria-expanded": "false" }, subject.name);
    this.button.addEventListener("click", () => (this.waiting ? this.close() : this.open(CHUNK)));
    const number = make("small", null, ` ${grouped(rows.length)}`);
    const cells = this.tallies(rows);
    this.body = make("tbody", { className: "tests" },
      make("tr", { className: "subject" }, make("th", { scope: "rowgroup" }, this.button, number), ...cells));
  }

  /** Return the cells that count each target's verdicts over *rows*, all of them, the bad ones first. */
  tallies(rows) {
    const { cells } = this.subject;
    const seen = this.columns.map(() => new Uint32Array(1 << Object.keys(BITS).length));
    for (const row of rows) {
      const first = row * width;
      for (let index = 0; index < seen.length; index++) seen[index][cells[first + this.columns[index]]]++;
    }
    return seen.map((counted) => make("td", null, ...TALLIED.filter((letter) => counted[BITS[letter]]).map((letter) =>
      make("span", { className: `count count-${letter}`, title: WORDS[letter][0] },
        `${grouped(counted[BITS[letter]])} ${letter === "p" ? "✓" : WORDS[letter][0]}`))));
  }

  eager() {
    return filtered() || total <= FEW || this.urgent.length > 0;
  }

  /** Show up to *limit* rows; return how many. */
  open(limit) {
    this.button.setAttribute("aria-expanded", "true");
    const first = this.urgent.length ? this.urgent : this.rest;
    this.waiting = this.urgent.length ? [...this.urgent, ...this.rest] : this.rest;
    return this.more(Math.max(0, Math.min(limit, first.length)));
  }

  close() {
    this.button.setAttribute("aria-expanded", "false");
    this.waiting = null;
    while (this.body.children.length > 1) this.body.lastChild.remove();
  }

  more(count) {
    const next = this.waiting.splice(0, count);
    this.last?.remove();
    this.body.append(...next.map((row) => this.row(row)));
    if (this.waiting.length) {
      const bad = this.waiting.some((row) => this.subject.bad[row]);
      const words = bad || filtered() ? "more" : "more without a failure";
      const button = make("button", { type: "button", className: "link" },
        `show ${Math.min(CHUNK, this.waiting.length)} of ${grouped(this.waiting.length)} ${words}`);
      button.addEventListener("click", () => this.more(CHUNK));
      this.last = make("tr", { className: "more" }, make("td", { colspan: this.columns.length + 1 }, button));
      this.body.append(this.last);
    }
    return next.length;
  }

  row(row) {
    const name = this.subject.tests[row];
    const link = make("a", { href: `#${address(this.subject, row)}` }, ...breakable(name));
    const cells = this.columns.map((column) => this.cell(row, column, data.targets[column].label, name));
    return make("tr", { className: "test" }, make("th", { scope: "row" }, link), ...cells);
  }

  cell(row, column, target, name) {
    const place = row * width + column;
    const letter = this.subject.letters[place];
    if (letter === " ") return make("td");
    const [word, mark] = WORDS[letter];
    const old = this.subject.old?.[place];
    const said = old === undefined ? "" : `, ${old === " " ? "new" : `was ${WORDS[old][0]}`}`;
    const td = CELL.cloneNode(true);
    const button = td.firstChild;
    button.className = `cell v-${letter}`;
    button.title = word + said;
    button.setAttribute("aria-label", `${word}${said}: ${name} on ${target}`);
    button.textContent = mark;
    if (old !== undefined) button.classList.add("changed");
    if (state.verdicts.size && !state.verdicts.has(letter)) button.classList.add("dim");
    button.place = [this.subject, row, column];
    return td;
  }
}

function address(subject, row) {
  return `test=${encodeURIComponent(`${subject.name}/${subject.tests[row]}`)}`;
}

$("matrix").addEventListener("click", (event) => {
  const button = event.target.closest(".cell");
  if (button) toggle(button, ...button.place);
});

/** Open or close the panel of one cell, below its row. */
function toggle(button, subject, row, column) {
  const open = button.getAttribute("aria-expanded") === "true";
  document.querySelectorAll("tr.panel").forEach((panel) => panel.remove());
  document.querySelectorAll(".cell[aria-expanded=true]").forEach((cell) => cell.setAttribute("aria-expanded", "false"));
  if (open) return;
  button.setAttribute("aria-expanded", "true");
  button.closest("tr").after(make("tr", { className: "panel" },
    make("td", { colspan: button.closest("tr").cells.length }, ...panel(subject, row, column))));
}

function panel(subject, row, column) {
  const place = row * width + column;
  const letter = subject.letters[place];
  const target = data.targets[column];
  const detail = detailsOf(subject).get(place) || {};
  const word = detail.c ? "crashed" : WORDS[letter][0];
  const terms = [
    ["target", target.label + (target.simulated ? " (simulated)" : "")],
    ["claim", detail.s], ["promise", detail.o],
    ["says", detail.m], ["reason", detail.r], ["known issue", detail.k && knownIssue(detail.k)],
    ["baseline", subject.old?.[place] === undefined ? "" : WORDS[subject.old[place]]?.[0] || "not there"],
    ["took", detail.d === undefined ? "" : `${detail.d} ms`], ["where", detail.f], ["pytest", detail.i],
  ].filter(([, value]) => value);
  const list = make("dl", null, ...terms.flatMap(([name, value]) => [make("dt", null, name), make("dd", null, value)]));
  const parts = [make("p", null, make("span", { className: `v v-${letter}` }, word), " ",
    make("b", null, ...breakable(`${subject.name} ${subject.tests[row]}`))), list];
  if (detail.p) parts.push(command("reproduce", detail.p));
  if (detail.x) parts.push(command("as C", detail.x));
  const log = logOf(detail);
  if (log) parts.push(make("pre", { tabIndex: 0 }, log));
  return parts;
}

/** Return a link to what the page says of a known issue. */
function knownIssue(name) {
  const place = data.known.indexOf(name);
  return place < 0 ? name : make("a", { href: `#known-${place + 1}` }, name);
}

function command(label, line) {
  const code = make("code", null, line);
  const button = make("button", { type: "button", className: "link" }, "copy");
  button.addEventListener("click", () => {
    getSelection().selectAllChildren(code);
    navigator.clipboard?.writeText(line).then(() => { button.textContent = "copied"; }, () => {});
  });
  return make("p", { className: "repro" }, make("span", { className: "soft" }, label), code, button);
}

// ---- controls

function chip(label, count, set, value) {
  const button = make("button", { type: "button", className: "chip", "aria-pressed": String(set.has(value)) }, label);
  if (count !== null) button.append(" ", make("b", null, grouped(count)));
  button.addEventListener("click", () => {
    if (!set.delete(value)) set.add(value);
    button.setAttribute("aria-pressed", String(set.has(value)));
    changed();
  });
  return button;
}

function countLetters() {
  const byBit = new Uint32Array(1 << Object.keys(BITS).length);
  for (const subject of data.subjects) for (const bit of subject.cells) byBit[bit]++;
  return Object.fromEntries(Object.entries(BITS).map(([letter, bit]) => [letter, byBit[bit]]));
}

function controls() {
  const seen = countLetters();
  const verdicts = Object.keys(WORDS).filter((letter) => seen[letter]);
  $("verdicts").replaceChildren(...verdicts.map((letter) => chip(WORDS[letter][0], seen[letter], state.verdicts, letter)));
  if (width > 1) {
    $("targets").replaceChildren(...data.targets.map((target) => chip(target.label, null, state.targets, target.name)));
  }
  const subjects = data.subjects.map((subject) => make("option", { value: subject.name }, subject.name));
  $("subject").replaceChildren(make("option", { value: "" }, "every subject"), ...subjects);
  $("subject").value = state.subject;
  $("search").value = state.query;
  $("changes").hidden = !data.baseline;
  $("changes").setAttribute("aria-pressed", String(state.changes));
  $("differences").hidden = width < 2;
  $("differences").setAttribute("aria-pressed", String(state.differences));
}

let timer = 0;
function changed() {
  clearTimeout(timer);
  draw();
  const parts = new URLSearchParams();
  if (state.query) parts.set("q", state.query);
  if (state.verdicts.size) parts.set("verdict", [...state.verdicts].map((letter) => WORDS[letter][0]).join(","));
  if (state.targets.size) parts.set("target", [...state.targets].join(","));
  if (state.subject) parts.set("subject", state.subject);
  if (state.changes) parts.set("changes", "1");
  if (state.differences) parts.set("differences", "1");
  history.replaceState(null, "", `#${parts}`);
}

/** Take filters, or one test, from the address. */
function fromAddress() {
  const linked = location.hash.includes("=") ? null : $(location.hash.slice(1));
  if (linked) {
    linked.open = true;
    linked.scrollIntoView();
    if ($("matrix").firstElementChild?.tagName === "TABLE") return;
  }
  const parts = new URLSearchParams(location.hash.slice(1));
  const split = (name) => (parts.get(name) || "").split(",").filter(Boolean);
  const test = parts.get("test") || "";
  const cut = test.indexOf("/");
  state.query = parts.get("q") || "";
  state.subject = cut > 0 ? test.slice(0, cut) : parts.get("subject") || "";
  state.targets = new Set(split("target"));
  state.verdicts = new Set(Object.keys(WORDS).filter((letter) => split("verdict").includes(WORDS[letter][0])));
  state.changes = parts.get("changes") === "1";
  state.differences = parts.get("differences") === "1";
  controls();
  draw();
  if (cut > 0) showTest(test.slice(0, cut), test.slice(cut + 1));
}

function showTest(subjectName, name) {
  const subject = data.subjects.find((one) => one.name === subjectName);
  const row = subject ? subject.tests.indexOf(name) : -1;
  if (row < 0) return;
  const columns = columnsShown();
  const table = tableOf(columns);
  const group = new Group(subject, [row], columns);
  table.append(group.body);
  group.open(1);
  const back = make("button", { type: "button", className: "link" }, "show every test");
  back.addEventListener("click", () => { state.subject = ""; controls(); changed(); });
  $("matrix").append(back);
  $("shown").textContent = "1 test";
  const cells = [...table.querySelectorAll(".cell")];
  const worst = cells.find((cell) => isBadCell(cell)) || cells[0];
  worst?.click();
  $("matrix").scrollIntoView();
}

const isBadCell = (cell) => [...BAD].some((letter) => cell.classList.contains(`v-${letter}`));

function step(forward) {
  const cells = [...document.querySelectorAll(".cell")].filter(isBadCell);
  if (!cells.length) return;
  const here = cells.indexOf(document.activeElement);
  const next = cells[(here + (forward ? 1 : cells.length - 1) + (here < 0 && !forward ? 1 : 0)) % cells.length];
  next.focus();
  if (next.getAttribute("aria-expanded") !== "true") next.click();
  next.closest("tr").scrollIntoView({ block: "nearest" });
}

function move(key) {
  const here = document.activeElement;
  const row = here.closest("tr");
  const column = here.closest("td").cellIndex;
  let next = null;
  if (key === "ArrowLeft" || key === "ArrowRight") {
    const cells = [...row.querySelectorAll(".cell")];
    next = cells[cells.indexOf(here) + (key === "ArrowLeft" ? -1 : 1)];
  } else {
    const rows = [...document.querySelectorAll("tr.test")].filter((one) => one.cells[column]?.firstChild);
    next = rows[rows.indexOf(row) + (key === "ArrowUp" ? -1 : 1)]?.cells[column].firstChild;
  }
  next?.focus();
}

document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
  if (event.key === "Escape") {
    const open = document.querySelector(".cell[aria-expanded=true]");
    if (open) { open.click(); open.focus(); } else if (typing) { document.activeElement.blur(); }
    return;
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") { event.preventDefault(); $("search").focus(); }
  else if (event.key === "n" || event.key === "p") step(event.key === "n");
  else if (event.key.startsWith("Arrow") && document.activeElement.classList.contains("cell")) {
    event.preventDefault();
    move(event.key);
  }
});

$("search").addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(() => { state.query = $("search").value; changed(); }, 80);
});
$("subject").addEventListener("change", () => { state.subject = $("subject").value; changed(); });
$("changes").addEventListener("click", () => { state.changes = !state.changes; controls(); changed(); });
$("differences").addEventListener("click", () => {
  state.differences = !state.differences;
  controls();
  changed();
});
addEventListener("hashchange", fromAddress);
addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((element) => { element.open = true; });
});
const [NAMES, WIDE, TIGHT] = [240, 82, 46]; // pixels of the names, and of a column
/** Fit the matrix to its window: names of targets on end where there are many, then scrolling with a hint. */
function stick() {
  const room = $("matrix").clientWidth;
  const count = columnsShown().length;
  const tight = room < NAMES + WIDE * count;
  const needed = NAMES + (tight ? TIGHT : WIDE) * count;
  $("matrix").classList.toggle("tight", tight);
  $("matrix").classList.toggle("scrolls", room < needed);
  $("hint").hidden = room >= needed;
  const table = $("matrix").firstElementChild;
  if (table?.tagName !== "TABLE") return;
  table.style.minWidth = `${needed}px`;
  // Rows that are scrolled to stop below the head, which stays in sight.
  document.documentElement.style.setProperty("--heads", `${table.tHead.offsetHeight}px`);
}

$("controls").hidden = false;
fromAddress();
new ResizeObserver(stick).observe($("controls"));
prepare();
