// SPDX-License-Identifier: GPL-2.0-only
"use strict";
// Search and filters; the page is complete without this script.

const WORDS = { name: "by its claim", others: "by others", nobody: "nobody" };
const $ = (id) => document.getElementById(id);
const items = [...document.querySelectorAll("section.defects .defect")].map((element) => (
  { element, how: element.dataset.how, text: element.textContent.toLowerCase() }));
const chosen = new Set();

function draw() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const item of items) {
    const fits = (!chosen.size || chosen.has(item.how)) && words.every((word) => item.text.includes(word));
    item.element.hidden = !fits;
    shown += fits;
  }
  for (const section of document.querySelectorAll("section.defects")) {
    section.hidden = !section.querySelector(".defect:not([hidden])");
  }
  $("shown").textContent = `${shown} of ${items.length} defects`;
}

function chip(how) {
  const count = items.filter((item) => item.how === how).length;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "chip";
  button.setAttribute("aria-pressed", "false");
  const number = document.createElement("b");
  number.textContent = count;
  button.append(`${WORDS[how]} `, number);
  button.addEventListener("click", () => {
    if (!chosen.delete(how)) chosen.add(how);
    button.setAttribute("aria-pressed", String(chosen.has(how)));
    draw();
  });
  return button;
}

$("how").append(...Object.keys(WORDS).filter((how) => items.some((item) => item.how === how)).map(chip));
$("search").addEventListener("input", draw);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") $("search").blur();
  if (event.key === "/" && document.activeElement !== $("search")) { event.preventDefault(); $("search").focus(); }
});
addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((element) => { element.open = true; });
});
$("controls").hidden = false;
draw();
