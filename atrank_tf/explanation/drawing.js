"use strict";
/* Data in -> drawing. `drawExplanation(root, explanation, view)` fills an element with one explanation, as
   `explanation_to_json` gives it; it asks nobody for anything, so that any page may use it. Names go in as text only. */

const NUMERALS = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];
const numeral = (space) => NUMERALS[space] ?? String(space + 1);
const percent = (share, digits = 1) => (100 * share).toFixed(digits);
const number = (value, digits = 3) => value.toFixed(digits).replace("-", "−");
const signed = (value) => (!Number.isFinite(value) ? "–" : (value < 0 ? "" : "+") + number(value));
const date = (seconds) => new Date(1000 * seconds).toISOString().slice(0, 10);
const minute = (seconds) => new Date(1000 * seconds).toISOString().slice(0, 16).replace("T", " ");

/** Makes an element; children are elements, or text that stays text. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "circle", "line", "text", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A packed array -> { shape, values }; what is that already stays so. */
function unpack(packed) {
  if (packed.values) return packed;
  const bytes = Uint8Array.from(atob(packed.data), (character) => character.charCodeAt(0));
  if (packed.type === "float32") return { shape: packed.shape, values: new Float32Array(bytes.buffer) };
  return { shape: packed.shape, values: Float32Array.from(new Uint16Array(bytes.buffer), (share) => share / 65535) };
}

/** Draws an explanation. `view` holds what a person chose (space, block, sort, query, candidate), and outlives one
    explanation. */
function drawExplanation(root, explanation, view = {}) {
  const own = unpack(explanation.self_attention), read = unpack(explanation.target_attention);
  const drops = unpack(explanation.without.behaviors);
  const { behaviors, candidates, things, groups } = explanation;
  const blocks = own.shape[0], spaces = Math.max(own.shape[1], read.shape[0]), count = behaviors.length;
  const thing = (one) => things[one.thing];
  const ranked = candidates.map((_, n) => n).sort((a, b) => candidates[b].score - candidates[a].score);
  Object.assign(view, { space: "all", block: 0, sort: "time", query: "", ...view });
  if (view.block >= blocks) view.block = 0;
  view.stop?.abort();  // What was drawn before no longer listens.
  view.stop = new AbortController();
  if (view.space !== "all" && Number(view.space) >= spaces) view.space = "all";
  let pinned = { kind: "candidate", place: ranked.includes(view.candidate) ? view.candidate : ranked[0] ?? 0 };
  let asked = pinned;

  /** The weights of what is asked, in one space: a slice over the behaviors; null where it has no attention. */
  function weights({ kind, place }, space) {
    const table = kind === "candidate" ? read : own;
    if (!table.values.length || (kind === "behavior" && !blocks)) return null;
    const start = kind === "candidate"
      ? (space * candidates.length + place) * count
      : ((view.block * spaces + space) * count + place) * count;
    return table.values.subarray(start, start + count);
  }
  const shown = () => [...Array(spaces).keys()].filter((space) => view.space === "all" || space === Number(view.space));

  // Controls.
  function choice(label, name, options) {
    const select = make("select", { name }, ...options.map(([value, text]) => make("option", { value }, text)));
    select.value = view[name];
    select.addEventListener("change", () => { view[name] = select.value; arrange(); });
    return make("label", {}, label, select);
  }
  const search = make("input", { type: "search", name: "query", placeholder: "name, id, category, action" });
  search.value = view.query;
  search.addEventListener("input", () => { view.query = search.value; arrange(); });
  const found = make("span", { class: "muted", role: "status" });
  const controls = make("div", { class: "controls" },
    choice("Sort behaviors by", "sort", [["time", "time"], ["group", "group"], ["category", "category"]]),
    choice("Space", "space", [["all", "all"], ...[...Array(spaces).keys()].map((k) => [String(k), numeral(k)])]),
    ...(blocks > 1 ? [choice("Block", "block", [...Array(blocks).keys()].map((b) => [String(b), String(b + 1)]))] : []),
    make("label", { class: "search" }, "Search", search), found);

  // Candidates.
  const candidateRows = candidates.map((candidate, n) => {
    const parts = Object.entries(candidate.parts).map(([name, part]) => `${name.replaceAll("_", " ")} ${signed(part)}`);
    return make("li", { "data-place": n },
      make("button", { class: "ask", type: "button", tabindex: -1 },
        make("span", { class: candidate.chosen ? "chosen" : null }, thing(candidate).label),
        make("span", { class: "number" }, number(candidate.score)),
        make("span", { class: "meta" }, parts.join(" · ")),
        ...candidate.affinity.slice(0, 1).map((most) => make("span", { class: "meta" }, most))));
  });
  const candidateList = make("ul", {}, ...ranked.map((n) => candidateRows[n]));
  const candidatePanel = make("section", { class: "panel candidates" },
    make("h2", {}, "Candidates, best first"), make("div", { class: "scroll" }, candidateList));

  // Behaviors.
  const cells = [...Array(spaces).keys()].map((space) => behaviors.map(
    () => make("td", { class: "weight", "data-head": numeral(space) })));
  const dropCells = behaviors.map(() => make("td", { "data-head": "effect" }));
  const dot = (group) => {
    const mark = make("span", { class: "group" });
    mark.style.color = `var(--g${group % 7})`;
    return mark;
  };
  const behaviorRows = behaviors.map((behavior, t) => make("tr", { "data-place": t },
    make("th", { scope: "row" },
      make("button", { class: "ask", type: "button", tabindex: -1 },
        make("span", {}, dot(behavior.group), thing(behavior).label),
        make("span", { class: "meta" },
          `${minute(behavior.timestamp)} · ${groups[behavior.group]} · ${behavior.action}`))),
    ...cells.map((column) => column[t]), dropCells[t]));
  const heads = cells.map((_, space) => make("th", { scope: "col" }, numeral(space)));
  const body = make("tbody");
  const caption = make("span", { class: "muted" });
  const table = make("table", {},
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Behavior"), ...heads,
      make("th", { scope: "col" }, "Effect"))), body);
  const behaviorPanel = make("section", { class: "panel behaviors" },
    make("h2", {}, "Behaviors"), make("p", {}, caption), make("div", { class: "scroll" }, table));

  // Timeline: a lane for each group; what happened at one time is stacked.
  const picture = make("svg", { "aria-hidden": "true" });
  const timelinePanel = make("section", { class: "panel timeline" }, make("h2", {}, "Timeline"), picture);
  let dots = [];
  function drawTimeline() {
    const width = Math.max(280, picture.getBoundingClientRect().width || 800), radius = width < 500 ? 3.5 : 4.5, step = 2 * radius + 1;
    const first = count ? behaviors[0].timestamp : explanation.now - 1, span = Math.max(1, explanation.now - first);
    const column = (behavior) => Math.round((width - 40) * (behavior.timestamp - first) / span / step);
    const stacks = groups.map(() => new Map());
    const levels = behaviors.map((behavior) => {
      const stack = stacks[behavior.group], level = stack.get(column(behavior)) ?? 0;
      stack.set(column(behavior), level + 1);
      return level;
    });
    const bases = [];
    let height = 0;
    groups.forEach((_, group) => {
      const most = Math.min(12, Math.max(1, ...stacks[group].values()));
      height += 20 + most * step;
      bases.push(height);
    });
    dots = behaviors.map((behavior, t) => {
      const circle = make("circle", {
        "data-place": t, r: radius, cx: 12 + column(behavior) * step, cy: bases[behavior.group] - radius - (levels[t] % 12) * step,
      }, make("title", {}, `${thing(behavior).label}, ${minute(behavior.timestamp)}`));
      circle.style.stroke = `var(--g${behavior.group % 7})`;
      return circle;
    });
    picture.setAttribute("viewBox", `0 0 ${width} ${height + 20}`);
    picture.replaceChildren(
      ...groups.flatMap((name, group) => [
        make("line", { x1: 0, x2: width, y1: bases[group] + 1, y2: bases[group] + 1 }),
        make("text", { x: 0, y: (bases[group - 1] ?? 0) + 14 }, name)]),
      make("text", { x: 0, y: height + 16 }, count ? date(first) : "no behaviors"),
      make("text", { x: width, y: height + 16, "text-anchor": "end" }, `request: ${date(explanation.now)}`),
      ...dots);
  }

  // Maps: everything against everything, as in the paper.
  const canvases = blocks ? [...Array(spaces).keys()].map(() => make("canvas", { width: count, height: count })) : [];
  const maps = make("details", { class: "panel maps-panel" },
    make("summary", {}, "Maps: what each behavior (row, oldest first) attends to (column)"),
    make("div", { class: "maps" }, ...canvases.map((canvas, space) =>
      make("figure", { "data-space": space }, make("figcaption", { class: "muted" }, numeral(space)), canvas))));
  maps.addEventListener("toggle", drawMaps);
  function drawMaps() {
    if (!maps.open || !count) return;
    const style = getComputedStyle(document.documentElement);
    const [low, high] = ["--surface", "--hue"].map((name) => style.getPropertyValue(name).trim().slice(1))
      .map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
    canvases.forEach((canvas, space) => {
      const start = (view.block * spaces + space) * count * count;
      const map = own.values.subarray(start, start + count * count);
      const most = map.reduce((a, b) => Math.max(a, b), Math.min(1, 4 / count));
      const image = new ImageData(count, count);
      map.forEach((weight, at) => {
        const mix = weight / most;
        for (let channel = 0; channel < 3; channel += 1) {
          image.data[4 * at + channel] = low[channel] + mix * (high[channel] - low[channel]);
        }
        image.data[4 * at + 3] = 255;
      });
      canvas.getContext("2d").putImageData(image, 0, 0);
    });
  }

  // The read-out: what is asked, in words and numbers.
  const readout = make("section", { class: "panel readout", "aria-live": "polite", "aria-label": "Read-out", tabindex: 0 });
  function drawReadout() {
    const { kind, place } = asked, one = kind === "candidate" ? candidates[place] : behaviors[place];
    if (!one) { readout.replaceChildren("Nothing to show."); return; }
    const features = Object.entries(thing(one).features).map(([column, values]) => `${column}: ${values.join(", ")}`);
    const verb = kind === "candidate" ? "reads" : `attends to (block ${Number(view.block) + 1})`;
    const lines = shown().flatMap((space) => {
      const row = weights(asked, space);
      if (!row) return [];
      const top = [...row.keys()].sort((a, b) => row[b] - row[a]).slice(0, 3);
      return [make("li", { "data-space": space }, make("b", {}, numeral(space)), " ",
        top.map((t) => `${percent(row[t], 2)} % ${thing(behaviors[t]).label}`).join("; "))];
    });
    const parts = [make("h2", {}, `${thing(one).label} ${lines.length ? verb : ""}`)];
    parts.push(lines.length ? make("ol", {}, ...lines) : make("p", {}, "Of this model no attention can be shown: see the effects."));
    if (kind === "candidate") {
      const { groups: ofGroups, spaces: ofSpaces } = explanation.without;
      const without = Object.entries(ofGroups).map(([name, fall]) => `${name} ${signed(fall[place])}`);
      parts.push(make("p", {}, `Score ${number(one.score)}. Effect of groups: ${without.join(", ")}.`));
      if (one.affinity.length) parts.push(make("p", {}, `Done before: ${one.affinity.join("; ")}.`));
      for (const [name, falls] of Object.entries(ofSpaces)) {
        const each = falls.map((fall, space) => `${numeral(space)} ${signed(fall[place])}`);
        parts.push(make("p", { class: "muted" }, `Effect of the spaces of ${name}: ${each.join(", ")}.`));
      }
      if (one.agreement !== null) {
        parts.push(make("p", { class: "muted" },
          `Rank agreement of attention and effect: ${number(one.agreement, 2)} (1: the same order; 0: none).`));
      }
    }
    parts.push(make("p", { class: "muted" }, features.join(" · ")));
    readout.replaceChildren(...parts);
  }

  // What is asked: colors and numbers of everything else.
  const edge = () => Number(getComputedStyle(document.documentElement).getPropertyValue("--switch"));
  function draw() {
    const visible = shown(), rows = [...Array(spaces).keys()].map((space) => weights(asked, space));
    // Even weights should look pale, not dark: the scale ends no lower than at four times an equal weight.
    const most = Math.max(Math.min(1, 4 / Math.max(1, count)), ...visible.flatMap((k) => rows[k] ? [Math.max(...rows[k])] : []));
    const strong = edge();
    behaviors.forEach((_, t) => {
      let sum = 0;
      for (const space of visible) {
        const cell = cells[space][t], share = rows[space] ? rows[space][t] : null;
        const mix = share === null ? 0 : 100 * share / most;
        cell.textContent = share === null ? "–" : percent(share);
        cell.style.setProperty("--p", `${mix.toFixed(1)}%`);
        cell.classList.toggle("strong", mix >= strong);
        sum += mix / visible.length;
      }
      dropCells[t].textContent = asked.kind === "candidate" ? signed(drops.values[asked.place * count + t]) : "";
      dots[t].style.fill = `color-mix(in srgb, var(--hue) ${sum.toFixed(1)}%, var(--surface))`;
    });
    for (const marked of root.querySelectorAll(".asked")) marked.classList.remove("asked");
    (asked.kind === "candidate" ? candidateRows : behaviorRows)[asked.place]?.classList.add("asked");
    caption.textContent = "Columns I, II, … : % of the weight of what is asked, in each space; darkest is "
      + `${percent(most, 2)} %. Effect: the score minus the score without it.`;
    drawReadout();
  }

  /** Puts rows in order, hides what is not searched for or not chosen, and draws. */
  function arrange() {
    const words = view.query.trim().toLowerCase();
    const text = (one, more) => [thing(one).label, thing(one).id, more, ...Object.values(thing(one).features).flat()]
      .join(" ").toLowerCase();
    const matches = behaviors.map((b) => text(b, `${groups[b.group]} ${b.action}`).includes(words));
    const newest = behaviors.map((_, t) => t).reverse();
    const key = {
      time: () => 0, group: (t) => behaviors[t].group, category: (t) => thing(behaviors[t]).categories[0] ?? "\uffff",
    }[view.sort];
    const order = newest.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
    body.replaceChildren(...order.map((t) => behaviorRows[t]));
    behaviorRows.forEach((row, t) => { row.hidden = !matches[t]; dots[t].classList.toggle("dim", !matches[t]); });
    candidateRows.forEach((row, n) => { row.hidden = !text(candidates[n], "").includes(words); });
    found.textContent = `${matches.filter(Boolean).length} of ${count} behaviors`;
    const visible = new Set(shown());
    cells.forEach((column, space) => {
      heads[space].hidden = !visible.has(space);
      for (const cell of column) cell.hidden = !visible.has(space);
    });
    for (const list of [candidateList, body]) {
      const buttons = [...list.querySelectorAll("[data-place]:not([hidden]) .ask")];
      if (!buttons.some((button) => button.tabIndex === 0) && buttons.length) buttons[0].tabIndex = 0;
    }
    draw();
    drawMaps();
  }

  // Asking: by pointer for a moment, by focus or click until something else is asked.
  let waiting = false;
  function ask(next) {
    asked = next;
    if (!waiting) {
      waiting = true;
      requestAnimationFrame(() => { waiting = false; draw(); });
    }
  }
  for (const [list, kind] of [[candidateList, "candidate"], [body, "behavior"], [picture, "behavior"]]) {
    const target = (event) => {
      const row = event.target.closest("[data-place]");
      return row && { kind, place: Number(row.dataset.place) };
    };
    list.addEventListener("pointerover", (event) => {
      if (event.pointerType === "mouse" && target(event)) ask(target(event));
    });
    list.addEventListener("pointerleave", () => ask(pinned));
    for (const type of list === picture ? ["click"] : ["click", "focusin"]) {  // With focusin an SVG would take focus.
      list.addEventListener(type, (event) => {
        if (!target(event)) return;
        pinned = target(event);
        if (kind === "candidate") view.candidate = pinned.place;
        for (const button of list.querySelectorAll('.ask[tabindex="0"]')) button.tabIndex = -1;
        const button = event.target.closest("[data-place]").querySelector(".ask");
        if (button) button.tabIndex = 0;
        ask(pinned);
      });
    }
    list.addEventListener("keydown", (event) => {
      const buttons = [...list.querySelectorAll("[data-place]:not([hidden]) .ask")];
      const at = buttons.indexOf(document.activeElement);
      const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
      if (at < 0 || to === undefined || !buttons[to]) return;
      event.preventDefault();
      buttons[to].focus();
    });
  }
  maps.addEventListener("pointermove", (event) => {
    if (event.target.tagName !== "CANVAS") return;
    const box = event.target.getBoundingClientRect();
    const place = Math.floor(count * (event.clientY - box.top) / box.height);
    if (behaviors[place]) ask({ kind: "behavior", place });
  });
  maps.addEventListener("pointerleave", () => ask(pinned));

  root.replaceChildren(controls, timelinePanel, candidatePanel, readout, behaviorPanel, ...(blocks ? [maps] : []));
  drawTimeline();
  arrange();
  const { signal } = view.stop;
  const redraw = () => { drawTimeline(); arrange(); };
  addEventListener("resize", redraw, { signal });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw, { signal });
}
