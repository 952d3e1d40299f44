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
const option = (text, value) => {
  const node = make("option", "", text);
  if (value !== undefined) node.value = value;
  return node;
};
const WORDS = {
  c: ["✓ right", "right"], w: ["✗ wrong", "false"], u: ["? no gradable answer", "none"], t: ["⏱ timed out", "none"],
};
const arms = new Map(data.arms.map((arm, index) => [arm.name, { ...arm, index }]));

const verdict = (letter, answer) => {
  const [word, style] = WORDS[letter];
  return make("p", `mark ${style}`, answer ? `${word}: ${answer}` : word);
};

const ask = (node, problem, extra) => {
  const meta = [`Gold answer: ${problem.gold}`, problem.tags, extra].filter(Boolean).join(" · ");
  node.replaceChildren(problem.question.trimEnd(), make("span", "meta", meta));
};

// --- which problem is shown ----------------------------------------------------------------------------------
const problemFilters = () => {
  const right = (name, i) => arms.get(name).verdicts[i] === "c";
  const only = (a, b) => [`${arms.get(a).label} right, ${arms.get(b).label} wrong`, (i) => right(a, i) && !right(b, i)];
  const others = data.leading.filter((name) => name !== data.studied);
  const filters = others.flatMap((other) => [only(data.studied, other), only(other, data.studied)]);
  if (others.length === 2) filters.push(only(data.reference, data.base));
  filters.push(["every arm wrong", (i) => data.arms.every((arm) => arm.verdicts[i] !== "c")]);
  return [["every problem", () => true], ...filters];
};

// Runs the controls above the question and calls `draw` with the number of the problem to show; returns a function
// that shows a problem whatever the filter.
const browseProblems = (draw) => {
  const filters = problemFilters();
  let matching = [], current = 0;
  const show = (i) => {
    current = i;
    const place = matching.indexOf(i);
    $("problem").value = String(i);
    $("previous-problem").disabled = place <= 0;
    $("next-problem").disabled = place < 0 || place >= matching.length - 1;
    ask($("question"), data.problems[i]);
    draw(i);
  };
  const filter = () => {
    matching = data.problems.map((_, i) => i).filter(filters[$("filter").selectedIndex][1]);
    $("problem").replaceChildren(...matching.map((i) => option(data.problems[i].id, i)));
    $("problem").disabled = !matching.length;
    $("count").textContent = `${matching.length} of ${data.problems.length} problems`;
    show(matching.length && !matching.includes(current) ? matching[0] : current);
  };
  const step = (by) => show(matching[matching.indexOf(current) + by]);
  $("filter").append(...filters.map(([name]) => option(name)));
  $("filter").addEventListener("change", filter);
  $("problem").addEventListener("change", () => show(Number($("problem").value)));
  $("previous-problem").addEventListener("click", () => step(-1));
  $("next-problem").addEventListener("click", () => step(1));
  filter();
  return (i) => {
    current = i;
    if (matching.includes(i)) return show(i);
    $("filter").selectedIndex = 0;
    filter();
  };
};
