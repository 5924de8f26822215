"use strict";
/* A request as a person edits it: form fields <-> values <-> the JSON that a server takes. Values are texts all the way,
   since a browser would round whole numbers above 2 ** 53. */

/** Inputs of a signature, as the metadata endpoint tells them -> name -> { dtype, rank }. */
function readInputs(signature) {
  return Object.fromEntries(Object.entries(signature.inputs).map(
    ([name, tensor]) => [name, { dtype: tensor.dtype, rank: (tensor.tensor_shape.dim ?? []).length }]));
}

/** Which inputs are what: { task, groups, user, context }. What is of the whole request is edited beside the user. */
function sortInputs(inputs, task) {
  const joined = Object.keys(inputs).filter((name) => name.includes("__")).sort(), owner = (name) => name.split("__")[0];
  const ofRequest = (name) => owner(name) === task && inputs[name].rank === 1;
  return {
    task,
    groups: [...new Set(joined.map(owner))].filter((name) => name !== task && name !== "user"),
    user: joined.filter((name) => owner(name) === "user" || ofRequest(name)),
    context: joined.filter((name) => owner(name) === task && name !== `${task}__candidates` && !ofRequest(name)),
  };
}

/** One value as JSON; throws an Error that a person can read. */
function scalar(text, dtype, name) {
  if (dtype === "DT_STRING") return JSON.stringify(text);
  const trimmed = String(text).trim();
  if (dtype === "DT_INT64") {
    if (/^-?\d+$/.test(trimmed)) return trimmed.replace(/^(-?)0+(?=\d)/, "$1");
    throw new Error(`Expected a whole number in ${name}. Received: ${trimmed || "nothing"}.`);
  }
  if (trimmed === "") return "NaN";
  if (Number.isNaN(Number(trimmed))) throw new Error(`Expected a number in ${name}. Received: ${trimmed}.`);
  return String(Number(trimmed));
}

/** Values by name -> one instance as JSON text. */
function instance(values, inputs) {
  const nested = (value, dtype, name) => Array.isArray(value)
    ? `[${value.map((each) => nested(each, dtype, name)).join(",")}]` : scalar(value, dtype, name);
  return `{${Object.entries(inputs).map(([name, { dtype, rank }]) =>
    `${JSON.stringify(name)}:${nested(values[name] ?? (rank > 1 ? [] : ""), dtype, name)}`).join(",")}}`;
}

/** The time in a datetime field, which is UTC, in Unix seconds as text; "0", no behavior, where there is none. */
const toSeconds = (text) => String(Math.floor((Date.parse(`${text}Z`) || 0) / 1000));
const toField = (seconds) => new Date(1000 * Number(seconds)).toISOString().slice(0, 19);

/** Makes the form of a request in `root`. Returns a function that reads it; `changed` is called after each edit. */
function requestForm(root, inputs, parts, values, changed) {
  const readers = {};
  const field = (label, value, attributes = {}) => {
    const input = make("input", { value, "aria-label": label, ...attributes });
    input.addEventListener("input", changed);
    return input;
  };
  const when = (label, seconds) => field(label, toField(seconds), { type: "datetime-local", step: 1 });
  const lines = (label, text) => {
    const area = make("textarea", { rows: 8, "aria-label": label, spellcheck: "false" }, text);
    area.addEventListener("input", changed);
    return area;
  };
  const several = (text) => text.split(/\s+/).filter(Boolean);

  const now = when("Moment of the request, UTC", values.now ?? Math.floor(Date.now() / 1000));
  readers.now = () => toSeconds(now.value);
  const user = parts.user.map((name) => {
    const many = inputs[name].rank > 1, value = values[name] ?? "";
    const input = field(name, Array.isArray(value) ? value.join(" ") : value);
    readers[name] = () => (many ? several(input.value) : input.value);
    return make("label", {}, name, input);
  });

  const groups = parts.groups.map((group) => {
    const rows = make("tbody");
    const actions = [...new Set(values[`${group}__action`] ?? [])];
    const add = (id, action, seconds, at = "append") => {
      const cells = [
        field(`${group} id`, id), field("action", action, { list: `${group}-actions`, size: 10 }), when("time, UTC", seconds)];
      const remove = make("button", { type: "button", class: "plain", "aria-label": "remove", title: "remove" }, "×");
      const row = make("tr", {}, ...cells.map((cell) => make("td", {}, cell)), make("td", {}, remove));
      row.cells_ = cells;
      remove.addEventListener("click", () => { row.remove(); changed(); });
      rows[at](row);
      return cells[0];
    };
    const [ids, acts, times] = ["id", "action", "timestamp"].map((column) => values[`${group}__${column}`] ?? []);
    // The newest first, as they are shown below.
    [...ids.keys()].sort((a, b) => Number(times[b]) - Number(times[a])).forEach((at) => add(ids[at], acts[at], times[at]));
    const more = make("button", { type: "button", class: "plain" }, `add a ${group}`);
    more.addEventListener("click", () => {
      add("", actions[0] ?? "", Number(readers.now()) - 1, "prepend").focus();
      changed();
    });
    const column = (place) => () => [...rows.children].map((row) => row.cells_[place].value).reverse();
    readers[`${group}__id`] = column(0);
    readers[`${group}__action`] = column(1);
    readers[`${group}__timestamp`] = () => column(2)().map(toSeconds);
    return make("fieldset", {}, make("legend", {}, group), more,
      make("datalist", { id: `${group}-actions` }, ...actions.map((value) => make("option", { value }))),
      make("div", { class: "scroll" }, make("table", {}, rows)));
  });

  const name = `${parts.task}__candidates`, found = lines("Candidates, one id a line", (values[name] ?? []).join("\n"));
  const split = (area) => area.value.replace(/\n+$/, "").split("\n");
  readers[name] = () => split(found).map((id) => id.trim()).filter(Boolean);
  const context = parts.context.map((column) => {
    const many = inputs[column].rank > 2;
    const area = lines(column, (values[column] ?? []).map((value) => (Array.isArray(value) ? value.join(" ") : value)).join("\n"));
    readers[column] = () => readers[name]().map((_, n) => {
      const text = split(area)[n] ?? "";
      return many ? several(text) : text;
    });
    return make("label", {}, `${column}, one a line`, area);
  });
  root.replaceChildren(
    make("div", { class: "fields" }, make("label", {}, "now, UTC", now), ...user),
    make("div", { class: "fields" }, ...groups,
      make("fieldset", {}, make("legend", {}, "candidates"), make("label", {}, "ids, one a line", found), ...context)));
  return () => Object.fromEntries(Object.entries(readers).map(([key, read]) => [key, read()]));
}
