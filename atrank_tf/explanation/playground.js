"use strict";
/* The playground: a request is edited, asked of the server that this page comes from, and drawn. */

{
  const data = JSON.parse(document.getElementById("data").textContent);
  const [modelPicker, taskPicker, status, fields, drawing, sent] =
    ["model", "task", "status", "fields", "explanation", "sent"].map((id) => document.getElementById(id));
  const view = {}, MOST_ROWS = 20000;
  let values = data.values, signatures = {}, read = null, asking = new AbortController(), timer = 0;

  /** An id with its title, if one is known; both are other people's words. */
  const label = (id, input) => {
    const known = Object.hasOwn(data.titled, input) ? data.titles[data.titled[input]] : {};
    return Object.hasOwn(known, id) ? `${known[id]} (${id})` : id;
  };
  const url = (verb) => `v1/models/${encodeURIComponent(modelPicker.value)}${verb}`;
  async function fetchJson(address, options) {
    const response = await fetch(address, options), text = await response.text();
    let found = null;
    try { found = JSON.parse(text); } catch { throw new Error(`The server answered ${response.status}: ${text.slice(0, 200)}`); }
    if (!response.ok) throw new Error(found.error ?? `The server answered ${response.status}`);
    return found;
  }
  const predict = async (signature, instances, signal) => (await fetchJson(url(":predict"), {
    method: "POST", signal, body: `{"signature_name":${JSON.stringify(signature)},"instances":[${instances.join(",")}]}`,
  })).predictions;

  /** What is in a prediction -> what `drawExplanation` takes. */
  function explanation(task, parts, asked, found, falls) {
    const places = found.behavior_place
      ? found.behavior_place.map((place, at) => ({ at, place, group: parts.groups.indexOf(found.behavior_group[at]) }))
        .filter(({ place }) => place >= 0)
      : parts.groups.flatMap((name, group) => asked[`${name}__timestamp`].map((_, place) => ({ at: 0, place, group })));
    const time = ({ group, place }) => Number(asked[`${parts.groups[group]}__timestamp`][place]);
    const behaviors = places.filter((one) => time(one) > 0).sort((a, b) => time(a) - time(b));
    const things = [];
    const thing = (id, input) => things.push({ id, label: label(id, input), categories: [], features: {} }) - 1;
    const candidates = asked[`${task}__candidates`], at = behaviors.map((one) => one.at);
    const own = (found.self_attention ?? []).map((block) => block.map((space) => at.map((t) => at.map((u) => space[t][u]))));
    const reading = (found.target_attention ?? []).map((space) => space.map((row) => at.map((t) => row[t])));
    const scored = Object.keys(found).filter((name) => name.startsWith("score_"));
    const fall = ({ group, place }) => falls?.behaviors[group][place];
    return {
      user: "", task, now: Number(asked.now), groups: parts.groups,
      behaviors: behaviors.map((one) => ({
        group: one.group, timestamp: time(one),
        action: asked[`${parts.groups[one.group]}__action`][one.place],
        thing: thing(asked[`${parts.groups[one.group]}__id`][one.place], `${parts.groups[one.group]}__id`),
      })),
      candidates: candidates.map((id, n) => ({
        thing: thing(id, `${task}__candidates`), chosen: null, score: found.scores[n], affinity: [], agreement: null,
        parts: Object.fromEntries(scored.map((name) => [name.slice(6), found[name][n]])),
      })),
      things,
      self_attention: { shape: [own.length, own[0]?.length ?? 0, at.length, at.length], values: Float32Array.from(own.flat(3)) },
      target_attention: {
        shape: [reading.length, candidates.length, at.length], values: Float32Array.from(reading.flat(2)) },
      without: {
        behaviors: {
          shape: [candidates.length, at.length],
          values: Float32Array.from(candidates.flatMap((_, n) => behaviors.map((one) => fall(one)?.[n] ?? NaN))) },
        groups: falls?.groups ?? {}, spaces: {},
      },
    };
  }

  /** Asks for the scores without each behavior and each group: timestamp 0 takes one away. */
  async function effects(task, inputs, parts, asked, scores, signal) {
    const jobs = [];
    for (const [group, name] of parts.groups.entries()) {
      const times = asked[`${name}__timestamp`];
      times.forEach((_, place) => jobs.push({ group, place, without: times.map((time, at) => (at === place ? "0" : time)) }));
      jobs.push({ group, place: -1, without: times.map(() => "0") });
    }
    if (jobs.length * scores.length > MOST_ROWS) return null;
    const bodies = jobs.map(({ group, without }) =>
      instance({ ...asked, [`${parts.groups[group]}__timestamp`]: without }, inputs));
    const found = await predict(`score__${task}`, bodies, signal);
    const falls = { behaviors: parts.groups.map(() => []), groups: {} };
    jobs.forEach(({ group, place }, job) => {
      const fall = found[job].map((score, n) => scores[n] - score);
      if (place < 0) falls.groups[parts.groups[group]] = fall;
      else falls.behaviors[group][place] = fall;
    });
    return falls;
  }

  async function ask() {
    asking.abort();
    asking = new AbortController();
    const { signal } = asking, task = taskPicker.value, explained = `explain__${task}` in signatures;
    const inputs = readInputs(signatures[`score__${task}`]), parts = sortInputs(inputs, task);
    try {
      const asked = read();
      values = { ...values, ...asked };
      const one = instance(asked, inputs);
      sent.querySelector("pre").textContent = `POST ${url(":predict")}\n\n{"signature_name": ${JSON.stringify(`score__${task}`)}, "instances": [${one}]}`;
      const [found] = await predict(`${explained ? "explain" : "score"}__${task}`, [one], signal);
      const whole = explained ? found : { scores: found };
      const falls = await effects(task, inputs, parts, asked, whole.scores, signal);
      const drawn = explanation(task, parts, asked, whole, falls);
      drawExplanation(drawing, drawn, view);
      const given = parts.groups.reduce((sum, name) => sum + asked[`${name}__timestamp`].filter((time) => time !== "0").length, 0);
      status.textContent = `${drawn.candidates.length} candidates, ${drawn.behaviors.length} of ${given} behaviors read.`
        + (explained ? "" : " This export has no signature explain: only effects can be shown (export with --explain).")
        + (falls ? "" : " Too many rows to ask for effects.");
      status.classList.remove("error");
    } catch (error) {
      if (error.name === "AbortError") return;
      status.textContent = error.message;
      status.classList.add("error");
    }
  }
  const changed = () => { clearTimeout(timer); timer = setTimeout(ask, 200); };

  function pickTask() {
    if (read) values = { ...values, ...read() };
    const inputs = readInputs(signatures[`score__${taskPicker.value}`]);
    delete view.candidate;
    read = requestForm(fields, inputs, sortInputs(inputs, taskPicker.value), values, changed);
    return ask();
  }

  async function pickModel() {
    try {
      signatures = (await fetchJson(url("/metadata"))).metadata.signature_def.signature_def;
      const tasks = Object.keys(signatures).filter((name) => name.startsWith("score__")).map((name) => name.slice(7)).sort();
      if (!tasks.length) throw new Error("Expected a model that atrank_tf exported. Found no signature of a task.");
      const wanted = tasks.find((name) => `score__${name}` === data.signature || `${name}__candidates` in values) ?? tasks[0];
      taskPicker.replaceChildren(...tasks.map((value) => make("option", { value }, value)));
      taskPicker.value = wanted;
      read = null;
      await pickTask();
    } catch (error) {
      status.textContent = error.message;
      status.classList.add("error");
    }
  }

  modelPicker.append(...data.models.map((value) => make("option", { value }, value)));
  modelPicker.addEventListener("change", pickModel);
  taskPicker.addEventListener("change", pickTask);
  pickModel();
}
