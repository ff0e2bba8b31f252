// The page at /: a history is clicked together, and the top ten follows each click.
import { Refused, TOKEN, call, element } from "./service.js";

let K = 10;
const STARS = 5, SEARCH_PAUSE = 150;  // milliseconds without a key before a search
const at = id => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");
let model, session = null, past = [], ranks = null, numbered = 0, made = 0, searching = 0;
let line = Promise.resolve();  // requests that change the session, one after another

function inTurn(work) {
  line = line.then(work).then(() => problem(""), told);
  return line;
}

function told(error) {
  if (!(error instanceof Refused)) {  // told, and not thrown: what comes next must still get its turn
    console.error(error);
    problem(`The page made a mistake: ${error.message}`);
    return;
  }
  if (error.status === 401) { at("token").hidden = false; at("work").hidden = true; at("token-text").focus(); }
  problem(error.message);
}

function problem(text) { at("problem").textContent = text; }

function name(item) {
  return item.title ? element("span", {}, item.title) : element("span", { className: "no-title" }, `item ${item.item_id}`);
}

const words = item => item.title || `item ${item.item_id}`;
const events = () => past.map(one => ({ item_id: one.item_id, rating: one.rating }));

// -- the session

async function begin() {
  const old = session;
  session = null;
  show(await call("POST", "session", { history: events(), k: K }));
  if (old) call("DELETE", `session/${old}`).catch(() => {});  // it would be dropped in time
}

async function add(item) {
  const event = { ...item, rating: null, row: numbered++ };
  past.push(event);
  showPast();
  try {
    if (!session) return await begin();
    show(await call("POST", `session/${session}/add`, { item_id: item.item_id, k: K }));
  } catch (error) {
    if (error.status === 404 && session) return begin();  // dropped, or the service was started again
    past = past.filter(one => one !== event);
    showPast();
    throw error;
  }
}

function show(answer) {
  session = answer.session_id;
  const list = at("top"), before = new Map([...list.children].map(row => [row.dataset.item, row.offsetTop]));
  list.replaceChildren(...answer.items.map(item => recommended(item)));
  for (const row of list.children) move(row, before.get(row.dataset.item));
  ranks = new Map(answer.items.map(item => [item.item_id, item.rank]));
  const popular = answer.source === "popularity", few = past.length === 1 ? "1 event" : `${past.length} events`;
  at("told").textContent = !answer.items.length ? "Nothing is left to recommend."
    : popular ? "Popular items: the model knows nothing of this history yet." : `For a history of ${few}.`;
}

function move(row, top) {
  if (top === undefined || top === row.offsetTop || calm.matches) return;
  row.animate([{ transform: `translateY(${top - row.offsetTop}px)` }, { transform: "none" }], { duration: 350, easing: "ease" });
}

// -- the top ten

function recommended(item) {
  const row = element("li"), panel = element("div", { className: "panel", hidden: true });
  row.dataset.item = item.item_id;
  const title = element("button", { className: "title", title: "Add to the history" }, name(item));
  title.addEventListener("click", () => inTurn(() => add(item)));
  const why = toggle("Why", item, panel, () => reasons(item)), like = toggle("Similar", item, panel, () => alike(item));
  row.append(element("div", { className: "line" }, element("span", { className: "place" }, `${item.rank}`),
    movement(item), title, why, like), panel);
  return row;
}

function movement(item) {
  if (ranks === null) return element("span", { className: "moved" });
  const before = ranks.get(item.item_id), by = before - item.rank;
  const [kind, mark, text] = before === undefined ? ["new", "new", ""]
    : by > 0 ? ["up", `▲ ${by}`, `up by ${by}`] : by < 0 ? ["down", `▼ ${-by}`, `down by ${-by}`] : ["same", "", ""];
  const shown = element("span", text ? { "aria-hidden": "true" } : {}, mark);
  return element("span", { className: `moved ${kind}` }, shown, text ? element("span", { className: "unseen" }, text) : null);
}

function toggle(word, item, panel, content) {
  const button = element("button", { className: "plain", "aria-expanded": "false" }, word,
    element("span", { className: "unseen" }, `: ${words(item)}`));
  button.addEventListener("click", async () => {
    const opens = button.getAttribute("aria-expanded") === "false";
    for (const other of button.parentElement.querySelectorAll("[aria-expanded]")) other.setAttribute("aria-expanded", "false");
    panel.hidden = !opens;
    button.setAttribute("aria-expanded", `${opens}`);
    if (!opens) return;
    panel.replaceChildren("…");
    try { panel.replaceChildren(...await content()); } catch (error) { panel.hidden = true; told(error); }
  });
  return button;
}

async function reasons(item) {
  if (!past.length) return ["There is no history yet: it is popular."];
  const found = await call("POST", "explain", { history: events(), item_id: item.item_id, k: 3 });
  if (!found.because.length) return ["The model knows no item of this history."];
  const rows = found.because.map(one => element("li", {}, name(one), number(one.similarity)));
  return [element("p", {}, "Most similar in the history:"), element("ul", {}, ...rows)];
}

async function alike(item, by = "table") {
  const found = await call("POST", "similar", { item_id: item.item_id, k: Math.min(5, model.items), by });
  const rows = found.items.map(one => {
    const button = element("button", { className: "title", title: "Add to the history" }, name(one));
    button.addEventListener("click", () => inTurn(() => add(one)));
    return element("li", {}, button, number(one.score));
  });
  return [element("p", {}, "Similar items; a click adds one:"), element("ul", {}, ...rows)];
}

function number(value) { return element("span", { className: "number" }, value.toFixed(2)); }

// -- the history

function showPast() {
  const list = at("past"), rows = new Map([...list.children].map(row => [row.dataset.row, row]));
  const wanted = past.map(one => rows.get(`${one.row}`) ?? chosen(one));
  for (const row of [...list.children]) if (!wanted.includes(row)) row.remove();
  for (const row of wanted) if (!row.isConnected) list.append(row);
  at("empty").hidden = past.length > 0;
  at("again").hidden = past.length === 0;
}

function chosen(event) {
  const row = element("li");
  row.dataset.row = event.row;
  const remove = element("button", { className: "plain", title: "Remove" }, element("span", { "aria-hidden": "true" }, "✕"),
    element("span", { className: "unseen" }, `Remove ${words(event)}`));
  remove.addEventListener("click", () => {
    past = past.filter(one => one !== event);
    showPast();
    at("words").focus();
    inTurn(begin);
  });
  row.append(element("span", { className: "name" }, name(event)), model.highest_rating === null ? "" : stars(event), remove);
  return row;
}

function stars(event) {
  const group = element("fieldset", { className: "stars" }, element("legend", { className: "unseen" }, `Rating of ${words(event)}`));
  for (let count = 1; count <= STARS; count++) {
    const star = element("input", { type: "radio", name: `stars-${event.row}`, value: `${count}` });
    star.addEventListener("change", () => {
      event.rating = count * model.highest_rating / STARS;
      [...group.querySelectorAll("label")].forEach((label, place) => fill(label, place < count));
      inTurn(begin);
    });
    group.append(element("label", {}, star, element("span", { "aria-hidden": "true" }, "☆"),
      element("span", { className: "unseen" }, count === 1 ? "1 star" : `${count} stars`)));
  }
  return group;
}

function fill(label, on) {
  label.classList.toggle("on", on);
  label.querySelector("span").textContent = on ? "★" : "☆";
}

at("again").addEventListener("click", () => { past = []; showPast(); at("words").focus(); inTurn(begin); });

// -- search

at("words").addEventListener("input", () => {
  const now = ++searching;
  setTimeout(() => { if (now === searching) search(now).catch(told); }, SEARCH_PAUSE);
});

async function search(now) {
  const text = at("words").value.trim();
  const found = text ? (await call("GET", `search?k=8&text=${encodeURIComponent(text)}`)).items : [];
  if (now !== searching) return;
  const rows = found.map(item => {
    const button = element("button", { className: "title" }, name(item));
    button.addEventListener("click", () => { at("words").value = ""; at("found").replaceChildren(); at("words").focus();
      inTurn(() => add(item)); });
    return element("li", {}, button);
  });
  at("found").replaceChildren(...rows, ...(text && !rows.length ? [element("li", { className: "soft" }, "No title has these words.")] : []));
}

at("words").addEventListener("keydown", event => {
  if (event.key === "Escape") { at("words").value = ""; at("found").replaceChildren(); }
  if (event.key !== "ArrowDown" && event.key !== "Enter") return;
  const first = at("found").querySelector("button");
  if (!first) return;
  event.preventDefault();
  if (event.key === "Enter") first.click(); else first.focus();
});

at("found").addEventListener("keydown", event => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const all = [...at("found").querySelectorAll("button")], place = all.indexOf(document.activeElement) + step;
  (all[place] ?? (place < 0 ? at("words") : all[all.length - 1])).focus();
});

// -- a new item

function showFields() {
  at("fields").replaceChildren(...model.text_fields.flatMap((field, place) => [
    element("label", { htmlFor: `field-${place}` }, field.replaceAll("_", " ")),
    element("input", { id: `field-${place}`, name: field, autocomplete: "off", required: place === 0, maxLength: 10000 })]));
}

at("new").addEventListener("submit", event => {
  event.preventDefault();
  const button = at("new").querySelector("button"), texts = {};
  for (const input of at("fields").querySelectorAll("input")) if (input.value.trim()) texts[input.name] = input.value.trim();
  const item = { item_id: `new-${Date.now().toString(36)}-${made++}`, title: texts.title ?? Object.values(texts)[0] };
  button.disabled = true;
  at("landed").replaceChildren("Reading its text …");
  inTurn(() => land(item, texts).catch(error => { at("landed").replaceChildren(); throw error; })
    .finally(() => { button.disabled = false; }));
});

async function land(item, texts) {
  model.items = (await call("POST", "items", { items: [{ item_id: item.item_id, texts }] })).items;
  const place = await call("POST", "explain", { history: events(), item_id: item.item_id, k: 1, filter_seen: false });
  const list = await alike(item, "both");
  await begin();
  at("landed").replaceChildren(element("div", { className: "panel" },
    element("p", {}, element("strong", {}, name(item)), ` stands at place ${place.rank.toLocaleString("en")} of `
      + `${place.of.toLocaleString("en")} for this history.`), ...list));
  at("new").reset();
}

// -- the beginning

async function start() {
  model = await call("GET", "model");
  at("token").hidden = true;
  at("work").hidden = false;
  const facts = [`${model.name} on ${model.dataset}`, `${model.items.toLocaleString("en")} items`];
  if (model.users) facts.push(`${model.users.toLocaleString("en")} users`);
  at("model").textContent = facts.join(" · ");
  K = Math.min(K, model.items);
  showFields();
  await begin();
}

at("token").addEventListener("submit", event => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, at("token-text").value.trim());
  inTurn(start);
});

inTurn(start);
