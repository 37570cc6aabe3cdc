// Numbers as people read them, and elements made without any text being read as HTML.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);

function timeText(ns) {
  for (const [unit, size] of [
    ["s", 1e9],
    ["ms", 1e6],
    ["us", 1e3],
  ]) {
    if (ns >= size) return `${short(ns / size)} ${unit}`;
  }
  return `${Math.round(ns)} ns`;
}

function short(number) {
  if (number >= 99.95) return Math.round(number).toLocaleString("en");
  return String(Number(number.toPrecision(3)));
}

function bytesText(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let power = 0;
  while (count >= 1024 && power < units.length - 1) {
    count /= 1024;
    power += 1;
  }
  return `${short(count)} ${units[power]}`;
}

function countText(number) {
  return Number.isInteger(number) ? number.toLocaleString("en") : short(number);
}

function secondsText(seconds) {
  return `${Number(seconds.toFixed(6)).toLocaleString("en", { maximumFractionDigits: 6 })} s`;
}

function percentileText(share) {
  return `p${Number((100 * share).toFixed(3))}`;
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function swatch(colour) {
  const made = element("span", { class: "swatch", "aria-hidden": "true" });
  made.style.backgroundColor = colour;
  return made;
}

// Rows of [colour or "", name, value ...]; shown when the mouse is over a picture.
function tip(title, rows) {
  const body = rows.map(([colour, ...cells]) =>
    element(
      "tr",
      {},
      ...cells.map((cell, n) =>
        element(n ? "td" : "th", n ? {} : { class: "left" }, ...(n || !colour ? [] : [swatch(colour), " "]), cell),
      ),
    ),
  );
  return element("div", { class: "tip" }, element("b", {}, title), element("table", {}, ...body));
}

function tableOf(heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map(([name, ...cells]) =>
    element("tr", {}, element("th", { scope: "row" }, name), ...cells.map((cell) => element("td", {}, cell))),
  );
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "figures" },
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)),
  );
}
