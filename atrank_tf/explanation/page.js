"use strict";
/* The report's page: its data stand in it; a request is picked and drawn. */

{
  const data = JSON.parse(document.getElementById("data").textContent);
  const picker = document.getElementById("request"), view = {};
  document.getElementById("about").textContent = data.about;
  picker.append(...data.explanations.map((explanation, place) =>
    make("option", { value: place }, `user ${explanation.user}, ${explanation.task}, ${date(explanation.now)}`)));
  const show = () => {
    drawExplanation(document.getElementById("explanation"), data.explanations[Number(picker.value)], view);
  };
  picker.addEventListener("change", () => { delete view.candidate; show(); });

  const [head, ...rows] = data.spaces;
  const cell = (tag, attributes) => (text) => make(tag, attributes, text);
  document.getElementById("spaces").append(
    make("h2", {}, "What the spaces learned"),
    make("p", { class: "muted" }, data.measures),
    make("table", {},
      make("thead", {}, make("tr", {}, ...head.map(cell("th", { scope: "col" })))),
      make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell("td", {})))))));
  if (data.explanations.length) show();
}
