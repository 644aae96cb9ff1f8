// The page's script: theme, copy buttons, names of bars, and the table of results. It makes elements and sets
// their text; it never makes markup out of text (the page's policy would not let it), and loads nothing.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const make = (tag, { text, cls, ...attributes } = {}, ...children) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (cls) element.className = cls;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const count = (number) => number.toLocaleString("en-US");

  // --- theme ---------------------------------------------------------------------------------------
  byId("theme").hidden = false;
  byId("theme").addEventListener("change", (event) => {
    document.documentElement.dataset.theme = event.target.value;
  });

  // --- charts: a bar says what it is when pointed at ---------------------------------------------------
  for (const mark of document.querySelectorAll("svg.chart [data-says]")) {
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = mark.dataset.says;
    mark.append(title);
  }

  // --- commands --------------------------------------------------------------------------------------
  const copy = async (code, button) => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    } catch {
      // Where the clipboard is out of reach, what is to be copied is at least selected.
      getSelection().selectAllChildren(code);
    }
  };
  for (const command of document.querySelectorAll(".command")) {
    const button = make("button", { type: "button", text: "Copy" });
    button.addEventListener("click", () => copy(command.querySelector("code"), button));
    command.append(button);
  }

  // --- the results -------------------------------------------------------------------------------------
  const data = JSON.parse(byId("data").textContent);
  const rows = data.rows;
  const total = rows.state.length;
  const text = (name, at) => data.texts[rows[name][at]];
  const number = (at) => (typeof rows.number[at] === "number" ? "+" + rows.number[at] : rows.number[at]);
  const moment = (ms) => new Date(data.base + ms);
  const iso = (ms) => moment(ms).toISOString().replace("T", " ").replace("Z", " UTC");
  const word = (state) => state.replace("_", " ");
  const label = { "": "none" };

  const days = new Set();
  for (const ms of rows.last) if (ms !== null && days.size < 2) days.add(moment(ms).toISOString().slice(0, 10));
  const time = (ms) => {
    if (ms === null) return "";
    const [day, clock] = moment(ms).toISOString().split("T");
    return days.size < 2 ? clock.slice(0, 8) : day.slice(5) + " " + clock.slice(0, 8);
  };
  const took = (ms) => (ms === null ? "" : ms < 1000 ? ms + " ms" : (ms / 1000).toFixed(1) + " s");
  const place = (at) => (data.sheets.length > 1 ? data.sheets[rows.sheet[at]] + ":" : "") + rows.row[at];
  const answer = (at) => {
    const status = rows.status[at] ? String(rows.status[at]) : "";
    const code = text("code", at);
    return status && code && code !== "HTTP_" + status ? status + " " + code : status || code;
  };

  const columns = [
    { name: "State", cls: "c-state", key: (at) => rows.state[at] },
    { name: "Number", cls: "c-number", key: (at) => rows.number[at] },
    { name: "Template", cls: "c-template", key: (at) => data.templates[rows.template[at]] + " " + data.directions[rows.direction[at]] },
    { name: "Answer", cls: "c-answer", key: (at) => answer(at) + " " + text("error", at) },
    { name: "Sends", cls: "c-sends", key: (at) => rows.sends[at] },
    { name: "Last sent", cls: "c-last", key: (at) => rows.last[at] },
    { name: "Took", cls: "c-took", key: (at) => rows.took[at] },
    { name: data.sheets.length > 1 ? "Place" : "Row", cls: "c-place", key: (at) => rows.sheet[at] * 1e8 + rows.row[at] },
  ];

  // What a search looks through, made when it is first needed.
  let haystacks = null;
  const haystack = (at) => {
    haystacks ??= new Array(total);
    return (haystacks[at] ??= [
      word(data.states[rows.state[at]]), number(at), data.directions[rows.direction[at]],
      data.templates[rows.template[at]], data.countries[rows.country[at]], answer(at), text("error", at),
      text("action", at), text("id", at), text("note", at), data.sheets[rows.sheet[at]] + ":" + rows.row[at],
      ...rows.own.map((column) => data.texts[column[at]]),
    ].join("\n").toLowerCase());
  };

  const state = { order: [], page: 0, size: 50, sort: null, descending: false };
  // Beside the states there is all that is neither done nor needs nothing.
  const DONE = new Set(["succeeded", "skipped"]);
  const NOT_DONE = -1;
  const filters = [
    { id: "by-state", name: "state", values: { ...data.states.map(word), [NOT_DONE]: "did not succeed" },
      of: (at) => (DONE.has(data.states[rows.state[at]]) ? [rows.state[at]] : [rows.state[at], NOT_DONE]) },
    { id: "by-template", name: "template", values: data.templates, of: (at) => [rows.template[at]] },
    { id: "by-direction", name: "direction", values: data.directions, of: (at) => [rows.direction[at]] },
    { id: "by-country", name: "country", values: data.countries, of: (at) => [rows.country[at]] },
    { id: "by-cause", name: "cause", values: [...data.causes, ...data.problems.map((kind) => "rejected: " + kind)], of: (at) => rows.cause[at] },
  ];
  for (const filter of filters) {
    const counts = new Map();
    for (let at = 0; at < total; at++) for (const value of filter.of(at)) counts.set(value, (counts.get(value) ?? 0) + 1);
    const select = byId(filter.id);
    select.append(make("option", { value: "", text: "all" }));
    for (const [value, many] of [...counts].sort(([a], [b]) => a - b)) {
      const name = filter.values[value];
      select.append(make("option", { value, text: `${name in label ? label[name] : name} (${count(many)})` }));
    }
    // A choice between one thing is none.
    select.parentElement.hidden = counts.size < 2 && filter.name !== "cause" || counts.size < 1;
    filter.select = select;
  }
  const sortBy = byId("sort");
  sortBy.append(make("option", { value: "", text: "the sheet's order" }));
  columns.forEach((column, index) => sortBy.append(make("option", { value: index, text: column.name.toLowerCase() })));

  const head = byId("table").tHead.rows[0];
  columns.forEach((column, index) => {
    const button = make("button", { type: "button", text: column.name });
    button.addEventListener("click", () => {
      state.descending = state.sort === index && !state.descending;
      state.sort = index;
      sortBy.value = index;
      show();
    });
    column.head = make("th", { scope: "col", cls: column.cls }, button);
    head.append(column.head);
  });

  const compare = (a, b) => {
    // What has no value comes last, whichever way it is sorted.
    if (a === null || b === null || a === "" || b === "") return (a === null || a === "") - (b === null || b === "");
    const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en");
    return state.descending ? -order : order;
  };

  function show() {
    const wanted = byId("search").value.trim().toLowerCase();
    // A number may be typed as people write it: (415) 555-0100.
    const digits = /^[+()\d\s.\-/]{4,}$/.test(wanted) ? wanted.replace(/\D/g, "") : "";
    const chosen = filters.filter((filter) => filter.select.value !== "").map((filter) => [filter, Number(filter.select.value)]);
    state.order = [];
    for (let at = 0; at < total; at++) {
      if (!chosen.every(([filter, value]) => filter.of(at).includes(value))) continue;
      if (wanted && !haystack(at).includes(wanted) && !(digits && String(rows.number[at]).includes(digits))) continue;
      state.order.push(at);
    }
    if (state.sort !== null) {
      const { key } = columns[state.sort];
      const keys = new Map(state.order.map((at) => [at, key(at)]));
      state.order.sort((a, b) => compare(keys.get(a), keys.get(b)) || a - b);
    }
    columns.forEach((column, index) => {
      if (index === state.sort) column.head.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
      else column.head.removeAttribute("aria-sort");
    });
    state.page = 0;
    showPage();
  }

  function showPage() {
    const pages = Math.max(1, Math.ceil(state.order.length / state.size));
    const first = state.page * state.size;
    const shown = state.order.slice(first, first + state.size);
    byId("table").tBodies[0].replaceChildren(...shown.map(line));
    const found = state.order.length;
    byId("found").textContent = found === 0 ? "No line fits." :
      `${count(first + 1)} to ${count(first + shown.length)} of ${count(found)} line${found === 1 ? "" : "s"}` +
      (found < total ? `, chosen out of ${count(total)}` : "");
    byId("page").textContent = `Page ${count(state.page + 1)} of ${count(pages)}`;
    byId("previous").disabled = state.page === 0;
    byId("following").disabled = state.page + 1 >= pages;
  }

  const cell = (cls, ...lines) => make("td", { cls }, ...lines.filter((each) => each !== "").map((each) =>
    typeof each === "string" ? make("div", {}, make("bdi", { text: each })) : each));

  function line(at) {
    const name = data.states[rows.state[at]];
    const button = make("button", { type: "button", "aria-expanded": "false", "aria-label": `${word(name)}: details of ${number(at)}` },
      make("span", { cls: "dot " + name }), make("span", { text: word(name) }));
    const error = text("error", at);
    const row = make("tr", {},
      cell("c-state", button),
      cell("c-number", number(at), data.countries[rows.country[at]]),
      cell("c-template", data.templates[rows.template[at]], data.directions[rows.direction[at]]),
      cell("c-answer", answer(at), error && make("div", { cls: "message" }, make("bdi", { text: error }))),
      cell("c-sends", rows.sends[at] ? String(rows.sends[at]) : ""),
      cell("c-last", time(rows.last[at])),
      cell("c-took", took(rows.took[at])),
      cell("c-place", place(at)));
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!open));
      if (open) row.nextElementSibling.remove();
      else row.after(details(at));
    });
    return row;
  }

  function details(at) {
    const last = rows.last[at];
    const pairs = [
      ["Answer", answer(at)],
      ["Message", text("error", at)],
      ["What to do", text("action", at)],
      ["First sent", last === null ? "" : iso(last - rows.spread[at])],
      ["Last sent", last === null ? "" : iso(last)],
      ["Sends", rows.sends[at] ? String(rows.sends[at]) : ""],
      ["Took", took(rows.took[at])],
      ["Request id", text("id", at)],
      ["Note", text("note", at)],
      ["Sheet and row", data.sheets[rows.sheet[at]] + ":" + rows.row[at]],
      ...data.columns.map((name, index) => [name, data.texts[rows.own[index][at]]]),
    ];
    const list = make("dl");
    for (const [name, value] of pairs) {
      if (value) list.append(make("dt", {}, make("bdi", { text: name })), make("dd", {}, make("bdi", { text: value })));
    }
    return make("tr", { cls: "more" }, make("td", { colspan: columns.length }, list));
  }

  const turn = (by) => {
    state.page += by;
    showPage();
    byId("results").scrollIntoView();
  };
  byId("previous").addEventListener("click", () => turn(-1));
  byId("following").addEventListener("click", () => turn(1));
  byId("size").addEventListener("change", (event) => {
    state.size = Number(event.target.value);
    state.page = 0;
    showPage();
  });
  for (const filter of filters) filter.select.addEventListener("change", show);
  sortBy.addEventListener("change", () => {
    state.sort = sortBy.value === "" ? null : Number(sortBy.value);
    state.descending = false;
    show();
  });
  let waiting;
  byId("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 120);
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => {
    state.sort = null;
    // The fields have their first values only after this.
    setTimeout(show);
  });

  // A link such as #results?cause=2 chooses; the names are those of the filters, and search.
  const follow = () => {
    const [id, query] = location.hash.slice(1).split("?");
    if (id !== "results" || query === undefined) return;
    const asked = new URLSearchParams(query);
    for (const filter of filters) {
      filter.select.value = asked.get(filter.name) ?? "";
      // What none of the lines has cannot be chosen.
      if (filter.select.selectedIndex < 0) filter.select.value = "";
    }
    byId("search").value = asked.get("search") ?? "";
    show();
    byId("results").scrollIntoView();
    byId("results").focus({ preventScroll: true });
  };
  addEventListener("hashchange", follow);

  for (const id of ["filters", "found", "table", "pages"]) byId(id).hidden = false;
  if (total <= 25) byId("pages").hidden = true;
  show();
  follow();
})();
