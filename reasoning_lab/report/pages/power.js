(() => {
  // --- answers ---------------------------------------------------------------------------------------------
  const SVG = document.querySelector("svg").namespaceURI;
  const shown = new Set(data.leading);
  let current = 0;

  const strip = (arm) => {
    const svg = document.createElementNS(SVG, "svg");
    const n = data.ids.length;
    svg.setAttribute("viewBox", `0 0 ${n} 10`);
    svg.setAttribute("preserveAspectRatio", "none");
    const gap = n > 400 ? 0 : 0.18;
    for (const [kind, letters] of [["c", "c"], ["w", "w"], ["u", "ut"]]) {
      const path = document.createElementNS(SVG, "path");
      let d = "";
      [...arm.verdicts].forEach((v, i) => {
        if (letters.includes(v)) d += `M${i + gap / 2} 1h${1 - gap}v8h${gap - 1}z`;
      });
      path.setAttribute("d", d);
      path.setAttribute("class", kind);
      svg.append(path);
    }
    return svg;
  };

  // An arm's line of the map: whether its answers are shown, every verdict, its share of right answers.
  const line = (arm) => {
    const node = make("div", "line"), label = make("label"), box = make("input"), holder = make("div", "strip");
    node.style.setProperty("--ink", arm.ink);
    box.type = "checkbox";
    box.checked = shown.has(arm.name);
    box.addEventListener("change", () => {
      if (box.checked) shown.add(arm.name); else shown.delete(arm.name);
      drawAnswers(current);
    });
    label.append(box, make("span", "", arm.label));
    label.title = `${arm.label} — ${arm.about}`;
    const problemAt = (event) => {
      const rect = holder.getBoundingClientRect(), n = data.ids.length;
      return Math.min(n - 1, Math.floor(((event.clientX - rect.left) / rect.width) * n));
    };
    holder.append(strip(arm), make("div", "here"));
    holder.addEventListener("click", (event) => {
      if (problemAt(event) < data.problems.length) select(problemAt(event));
    });
    holder.addEventListener("mousemove", (event) => {
      const i = problemAt(event);
      holder.title = `${data.ids[i]}: ${WORDS[arm.verdicts[i]][0]}`;
    });
    const right = [...arm.verdicts].filter((v) => v === "c").length;
    node.append(label, holder, make("span", "share", `${((100 * right) / data.ids.length).toFixed(1)} %`));
    return node;
  };

  const card = (arm, [words, answer]) => {
    const node = make("article", "card"), text = make("div", "text", words);
    node.style.setProperty("--ink", arm.ink);
    text.tabIndex = 0;
    text.setAttribute("role", "group");
    text.setAttribute("aria-label", `Answer of ${arm.label}`);
    node.append(make("h4", "", arm.label), make("p", "about", arm.about), text, verdict(arm.verdicts[current], answer));
    return node;
  };

  const drawAnswers = (i) => {
    current = i;
    $("cards").replaceChildren(...[...arms.values()].filter((arm) => shown.has(arm.name))
      .map((arm) => card(arm, data.problems[i].answers[arm.index])));
    for (const here of document.querySelectorAll(".here")) {
      here.style.left = `${(100 * i) / data.ids.length}%`;
      here.style.width = `${100 / data.ids.length}%`;
    }
  };

  $("map").append(...[...arms.values()].map(line));
  const select = browseProblems(drawAnswers);

  // --- chains ----------------------------------------------------------------------------------------------
  if (data.chains.length) {
    const KINDS = [["given up early", "false"], ["rejected", "false"], ["accepted", "right"], ["accepted, same text again", "right"]];
    const [RUNG, STEP, CUT, AT, NEW, RATIO, KIND, APPENDED] = [0, 1, 2, 3, 4, 5, 6, 7];
    let chain = 0, steps = [], at = 0, timer = null;

    // The text before and after each move, replayed from the first state.
    const replayed = ({ state, moves }) => {
      let text = state;
      return moves.map((move) => {
        text = Array.isArray(move[APPENDED]) ? move[APPENDED][0] : text + move[APPENDED];
        const kept = text.slice(0, move[AT]), old = text.slice(move[AT]);
        if (move[KIND] >= 2) text = kept + move[NEW];
        return { move, kept, old };
      });
    };

    const drawChain = () => {
      const now = data.chains[chain];
      steps = replayed(now);
      at = 0;
      $("move").max = steps.length - 1;
      $("ribbon").replaceChildren(...steps.map(({ move }, i) => {
        const cell = make("i", `k${move[KIND]}${i && steps[i - 1].move[RUNG] !== move[RUNG] ? " first" : ""}`);
        cell.title = `rung ${move[RUNG]}, step ${move[STEP]}: ${KINDS[move[KIND]][0]}`;
        cell.addEventListener("click", () => go(i));
        return cell;
      }));
      $("key").replaceChildren(...[2, 3, 1, 0].map((kind) => {
        const entry = make("span"), swatch = make("span", "ribbon");
        swatch.append(make("i", `k${kind}`));
        entry.append(swatch, `${KINDS[kind][0]}: ${steps.filter((s) => s.move[KIND] === kind).length}`);
        return entry;
      }), make("span", "", `of ${steps.length} moves; gaps separate rungs`));
      ask($("chain-question"), now, `final answer: ${now.answer || "none"}, ${WORDS[now.verdict][0].slice(2)}`);
      drawStep();
    };

    const shared = (a, b) => {
      let i = 0;
      while (i < a.length && i < b.length && a[i] === b[i]) i += 1;
      while (i > 0 && i < a.length && /\S/.test(a[i - 1]) && /\S/.test(a[i])) i -= 1;
      return i;
    };

    const branch = (title, text, common, style) => {
      const node = make("div", `branch ${style}`), body = make("p", text ? "" : "nothing");
      body.append(make("span", "same", text.slice(0, common)), text.slice(common));
      node.append(make("h4", "", title), body);
      return node;
    };

    const fact = (name, value, style) => {
      const node = make("span", "", `${name} `);
      node.append(make("strong", style || "", value));
      return node;
    };

    const drawStep = () => {
      const { move, kept, old } = steps[at];
      const [word, style] = KINDS[move[KIND]];
      const won = move[KIND] >= 2, same = shared(old, move[NEW]);
      const facts = make("p", "facts");
      const ratio = move[RATIO] === null ? "not needed" : move[RATIO].toFixed(2).replace("-", "−");
      facts.append(fact("move", `${at + 1} of ${steps.length}`), fact("rung", move[RUNG]), fact("step", move[STEP]),
        fact("cut: tokens kept", move[CUT]), fact("log ratio", ratio), fact("verdict", word, style));
      const branches = make("div", "branches");
      if (move[KIND] === 3) {
        branches.append(branch("Suffix, redrawn identically", old, old.length, "won"));
      } else {
        branches.append(branch(won ? "Old suffix, dropped" : "Old suffix, stays", old, same, won ? "lost" : "won"),
          branch(won ? "New suffix, accepted" : `New suffix, ${word}`, move[NEW], same, won ? "won" : "lost"));
      }
      $("step").replaceChildren(facts, make("p", "kept", kept), branches);
      $("move").value = at;
      $("move").setAttribute("aria-valuetext", `move ${at + 1} of ${steps.length}: ${word}`);
      document.querySelectorAll("#ribbon i").forEach((cell, i) => cell.classList.toggle("on", i === at));
      $("previous-move").disabled = following(-1) === null;
      $("next-move").disabled = following(1) === null;
    };

    const following = (direction) => {
      for (let i = at + direction; i >= 0 && i < steps.length; i += direction) {
        if (!$("moved-only").checked || steps[i].move[KIND] === 2) return i;
      }
      return null;
    };
    const go = (i) => { if (i !== null) { at = i; drawStep(); } };
    const stop = () => {
      clearInterval(timer);
      timer = null;
      $("play").textContent = "▶ Play";
      $("play").setAttribute("aria-pressed", "false");
    };
    const play = () => {
      if (timer) return stop();
      if (following(1) === null) go(0);
      $("play").textContent = "❚❚ Pause";
      $("play").setAttribute("aria-pressed", "true");
      timer = setInterval(() => { const next = following(1); if (next === null) stop(); else go(next); }, 900);
    };

    data.chains.forEach((each, i) => {
      $("chain").append(option(`${each.id} (${WORDS[each.verdict][0].slice(2)})`, i));
    });
    $("chain").addEventListener("change", () => { stop(); chain = Number($("chain").value); drawChain(); });
    $("move").addEventListener("input", () => { stop(); go(Number($("move").value)); });
    $("previous-move").addEventListener("click", () => { stop(); go(following(-1)); });
    $("next-move").addEventListener("click", () => { stop(); go(following(1)); });
    $("moved-only").addEventListener("change", drawStep);
    $("play").addEventListener("click", play);
    drawChain();
  }
  document.documentElement.dataset.ready = "yes";
})();
