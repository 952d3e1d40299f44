"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
// Texts enter the page through textContent alone: nothing that a model wrote is ever parsed as markup.
const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
const WORDS = {
  c: ["✓ right", "right"], w: ["✗ wrong", "false"], u: ["? no gradable answer", "none"], t: ["⏱ timed out", "none"],
};
