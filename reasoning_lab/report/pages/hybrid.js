(() => {
  const categories = new Map(data.categories.map((category) => [category.index, category]));
  const UNKNOWN = { title: "no category", about: "", swatch: "" };
  const category = (index) => categories.get(index) || { ...UNKNOWN, index };
  const columns = [...data.leading];
  let current = 0, alone = null;

  // --- answers, unpacked ------------------------------------------------------------------------------------
  const choices = (flat) => {
    const texts = new Map();
    for (let i = 0; i < flat.length; i += 2) texts.set(flat[i], data.texts[flat[i + 1]]);
    return texts;
  };
  const unpack = (answer) => {
    const texts = answer.t.map((place) => data.texts[place]);
    if (!answer.c) return { texts, marked: false };
    const of = [];
    for (let i = 0; i < answer.c.length; i += 2) for (let n = 0; n < answer.c[i + 1]; n += 1) of.push(answer.c[i]);
    const coefficients = new Map(answer.s.map((place, i) => [place, answer.k[i]]));
    return { texts, marked: true, of, coefficients, differ: new Set(answer.d), base: choices(answer.b), thinking: choices(answer.h) };
  };

  // --- one column -------------------------------------------------------------------------------------------
  const seen = new WeakMap();
  const token = (answer, i) => {
    const node = make("span", "token", answer.texts[i]);
    if (!answer.marked) return node;
    const index = answer.of[i];
    seen.set(node, { answer, i, index });
    node.className += ` ${category(index).swatch}`;
    if (answer.coefficients.has(i)) node.classList.add("steered");
    if (!answer.texts[i]) node.classList.add("end");
    if (i === 0 || answer.of[i - 1] !== index) node.dataset.n = index;
    node.tabIndex = i === 0 ? 0 : -1;
    return node;
  };

  // The answer's categories as one bar: its mixture at a glance.
  const mixture = (answer) => {
    const bar = make("div", "strip-of");
    const counts = new Map();
    for (const index of answer.of || []) counts.set(index, (counts.get(index) || 0) + 1);
    const order = [...counts].sort((a, b) => a[0] - b[0]);
    for (const [index, n] of order) {
      const part = make("i", category(index).swatch);
      part.style.width = `${(100 * n) / answer.of.length}%`;
      part.title = `${index} ${category(index).title}: ${((100 * n) / answer.of.length).toFixed(0)} % of the tokens`;
      bar.append(part);
    }
    bar.setAttribute("aria-hidden", "true");
    return bar;
  };

  const facts = (answer, arm) => {
    if (!answer.marked) return arm.about;
    const n = answer.texts.length, steered = answer.coefficients.size;
    const share = `${steered} steered (${((100 * steered) / Math.max(n, 1)).toFixed(0)} %)`;
    const parts = [arm.about, `${n} tokens`, steered ? share : "", `models disagree at ${answer.differ.size}`];
    return parts.filter(Boolean).join(" · ");
  };

  const choice = (answer, i, who) => (answer[who].has(i) ? answer[who].get(i) : answer.texts[i]);

  const column = (name, place) => {
    const arm = arms.get(name), problem = data.problems[current], packed = problem.answers[name];
    const node = make("article", "column"), top = make("div", "top"), select = make("select");
    node.style.setProperty("--ink", arm.ink);
    node.dataset.arm = name;
    select.append(...data.arms.map((other) => option(other.label, other.name)));
    select.value = name;
    select.setAttribute("aria-label", `Arm in column ${place + 1}`);
    select.addEventListener("change", () => { columns[place] = select.value; drawColumns(); });
    top.append(select);
    if (columns.length > 1) {
      const close = make("button", "close", "×");
      close.type = "button";
      close.setAttribute("aria-label", `Remove ${arm.label}`);
      close.addEventListener("click", () => { columns.splice(place, 1); drawColumns(); });
      top.append(close);
    }
    node.append(top);
    if (!packed) {
      node.append(make("p", "absent", "This arm's answer to this problem was left out to keep the page small."),
        verdict(arm.verdicts[current]));
      return node;
    }
    const answer = unpack(packed), body = make("div", "tokens");
    body.setAttribute("role", "group");
    body.setAttribute("aria-label", `Answer of ${arm.label}; arrow keys move from token to token`);
    if (!answer.marked) body.tabIndex = 0;
    body.append(...answer.texts.map((_, i) => token(answer, i)));
    if (packed.cut) body.append(make("span", "absent", ` … [${packed.cut} more tokens]`));
    node.append(make("p", "about", facts(answer, arm)), mixture(answer), body, verdict(arm.verdicts[current], packed.a));
    return node;
  };

  const dim = () => {
    const onlySteered = $("steered-only").checked;
    for (const node of document.querySelectorAll(".token")) {
      const marked = seen.get(node);
      if (marked) {
        const other = alone !== null && marked.index !== alone;
        node.classList.toggle("off", other || (onlySteered && !node.classList.contains("steered")));
      }
    }
    for (const button of document.querySelectorAll("#legend button")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.index) === alone));
    }
  };

  const drawColumns = () => {
    hide();
    $("columns").replaceChildren(...columns.map(column));
    $("add-column").hidden = columns.length >= Math.min(6, data.arms.length);
    dim();
  };

  // --- the panel beside a token -----------------------------------------------------------------------------
  const spelled = (text) => (text === "" ? "end of text" : text.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/ /g, "␣"));
  const row = (list, name, text) => {
    const value = make("dd");
    value.append(make("code", "", spelled(text)));
    list.append(make("dt", "", name), value);
  };

  const show = (node) => {
    if (!seen.has(node)) return;
    const { answer, i, index } = seen.get(node), kind = category(index), panel = $("panel");
    const head = make("div", "head"), list = make("dl");
    head.append(make("span", `swatch ${kind.swatch}`, String(index)), make("span", "", kind.title || "unnamed"));
    row(list, "token", answer.texts[i]);
    row(list, "base wants", choice(answer, i, "base"));
    row(list, "thinking wants", choice(answer, i, "thinking"));
    const steered = answer.coefficients.has(i), size = answer.coefficients.get(i);
    list.append(make("dt", "", "steered"), make("dd", "", steered ? `yes, coefficient ${size === null ? "?" : size}` : "no"));
    const differ = answer.differ.has(i);
    panel.replaceChildren(head, make("p", "what", kind.about), list,
      make("div", differ ? "differ" : "agree", differ ? "≠ the models disagree" : "= the models agree"));
    panel.hidden = false;
    const box = node.getClientRects()[0] || node.getBoundingClientRect(), root = $("read").getBoundingClientRect();
    const width = panel.offsetWidth, height = panel.offsetHeight, edge = document.documentElement.clientWidth;
    const left = Math.max(8, Math.min(box.left, edge - width - 8));
    const above = box.bottom + height + 10 > window.innerHeight && box.top - height - 8 > 0;
    panel.style.left = `${left - root.left}px`;
    panel.style.top = `${(above ? box.top - height - 8 : box.bottom + 8) - root.top}px`;
  };
  const hide = () => { $("panel").hidden = true; };

  const holder = $("columns");
  holder.addEventListener("mouseover", (event) => {
    const node = event.target.closest(".token");
    if (node) show(node); else hide();
  });
  holder.addEventListener("mouseleave", hide);
  holder.addEventListener("focusin", (event) => { if (event.target.matches(".token")) show(event.target); else hide(); });
  holder.addEventListener("focusout", hide);
  holder.addEventListener("scroll", hide, true);
  const STEPS = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10, Home: -Infinity, End: Infinity };
  holder.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hide();
    if (!event.target.matches(".token") || !(event.key in STEPS)) return;
    event.preventDefault();
    const all = [...event.target.parentNode.querySelectorAll(".token")];
    const at = Math.max(0, Math.min(all.length - 1, all.indexOf(event.target) + STEPS[event.key]));
    event.target.tabIndex = -1;
    all[at].tabIndex = 0;
    all[at].focus();
  });

  // --- set up -----------------------------------------------------------------------------------------------
  for (const kind of data.categories) {
    const button = make("button");
    button.type = "button";
    button.dataset.index = kind.index;
    button.title = kind.about;
    button.append(make("span", `swatch ${kind.swatch}`, String(kind.index)), make("span", "", kind.title || "unnamed"));
    button.addEventListener("click", () => { alone = alone === kind.index ? null : kind.index; dim(); });
    $("legend").append(button);
  }
  $("numbers").checked = data.categories.length > 8;
  const number = () => holder.classList.toggle("numbers", $("numbers").checked);
  $("numbers").addEventListener("change", number);
  $("steered-only").addEventListener("change", dim);
  $("add-column").addEventListener("click", () => {
    columns.push((data.arms.find((arm) => !columns.includes(arm.name)) || data.arms[0]).name);
    drawColumns();
  });
  number();
  browseProblems((i) => { current = i; drawColumns(); });
  document.documentElement.dataset.ready = "yes";
})();
