import { Opportune } from "./opportune.js";

const root = document.documentElement;
const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const money = (value, currency = "GBP") => {
  if (value == null || value === "") return "";
  const sign = { GBP: "£", EUR: "€", USD: "$" }[currency];
  const text = Number(value).toFixed(2).replace(/\B(?=(\d{3})+\.)/g, ",");
  return sign ? sign + text : `${text} ${currency}`;
};
const say = (text) => { $("#say").textContent = text; };
const make = (tag, text = "", className = "") => Object.assign(document.createElement(tag), { textContent: text, className });

// ---- behind this page

const tally = { events: 0, decisions: 0, last: "" };
const count = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
const ledger = (list, cells) => {
  const row = make("li");
  row.append(...cells);
  list.prepend(row);
  while (list.children.length > 40) list.lastChild.remove();
  $("#behind-sum").textContent = `${count(tally.events, "event")} · ${count(tally.decisions, "decision")}${tally.last ? ` · last ${tally.last}` : ""}`;
};
const shop = new Opportune(root.dataset.writeKey, {
  onEvent(call, ok, ms) {
    tally.events += 1;
    const about = call.properties?.name ?? call.properties?.query ?? call.properties?.list_id ?? "";
    ledger($("#behind-events"), [make("code", call.event ?? call.type), make("span", about), make("small", ok ? `on disk, ${ms.toFixed(1)} ms` : "not accepted", ok ? "" : "bad")]);
  },
  onDecision(decision, ms) {
    tally.decisions += 1;
    tally.last = `${(decision.took_ms?.total ?? ms).toFixed(2)} ms`;
    const link = make("a", decision.decision_id);
    link.href = `${root.dataset.console}/decisions/${encodeURIComponent(decision.decision_id)}`;
    ledger($("#behind-decisions"), [make("code", decision.placement), link, make("small", `${(decision.took_ms?.total ?? 0).toFixed(2)} ms inside, ${ms.toFixed(1)} ms here`)]);
  },
});

// ---- the basket is a cookie that the server reads too

const readBasket = () => {
  const found = document.cookie.split("; ").find((part) => part.startsWith("basket="))?.slice(7) ?? "";
  return new Map(found.split(".").filter((part) => part.includes("*")).map((part) => {
    const star = part.lastIndexOf("*");
    return [decodeURIComponent(part.slice(0, star)), Number(part.slice(star + 1))];
  }));
};
const writeBasket = (basket) => {
  const text = [...basket].map(([id, quantity]) => `${encodeURIComponent(id).replaceAll(".", "%2E")}*${quantity}`).join(".");
  document.cookie = `basket=${text}; path=/; max-age=2592000; samesite=lax`;
  const count = [...basket.values()].reduce((sum, quantity) => sum + quantity, 0);
  const badge = $("#basket-count");
  badge.dataset.count = count;
  badge.lastChild.textContent = count;
};
const productOf = (item, extra = {}) => ({ product_id: item.item_id, name: item.name, category: item.category, price: item.price === "" || item.price == null ? undefined : Number(item.price), ...extra });

async function addToBasket(item, quantity, decisionId = "") {
  const basket = readBasket();
  basket.set(item.item_id, Math.min(999, (basket.get(item.item_id) ?? 0) + quantity));
  writeBasket(basket);
  say(`${item.name} is in your basket.`);
  await shop.track("product_added", productOf(item, { quantity }), decisionId);
  acted();
}

// ---- carousels

const shown = new Map();

function cardOf(decision, entry) {
  const item = { ...entry.item, item_id: entry.item_id };
  const card = $("#card").content.firstElementChild.cloneNode(true);
  card.dataset.itemId = item.item_id;
  const address = `/product/${encodeURIComponent(item.item_id)}`;
  $(".picture", card).href = address;
  $("img", card).src = item.image_url ?? `/pictures/${encodeURIComponent(item.item_id)}.svg`;
  const name = $(".name", card);
  name.href = address;
  name.textContent = item.name ?? item.item_id;
  $(".price", card).textContent = money(item.price, item.currency);
  const reason = entry.reasons?.[0]?.text ?? "";
  $(".reason", card).textContent = reason;
  $(".reason", card).title = reason;
  for (const link of $$("a", card)) link.addEventListener("click", () => {
    shop.track("product_clicked", productOf(item, { position: entry.rank, list_id: decision.placement }), decision.decision_id);
  });
  const add = $(".add", card);
  add.setAttribute("aria-label", `Add ${item.name} to the basket`);
  add.addEventListener("click", () => addToBasket(item, 1, decision.decision_id));
  const dismiss = $(".dismiss", card);
  dismiss.setAttribute("aria-label", `Not interested in ${item.name}`);
  dismiss.addEventListener("click", async () => {
    await shop.track("product_dismissed", productOf(item, { list_id: decision.placement }), decision.decision_id);
    say(`${item.name} will not be shown again.`);
    acted();
  });
  const ask = $(".ask", card);
  ask.setAttribute("aria-label", `Why this? ${item.name}`);
  ask.addEventListener("click", () => explain(decision, entry, item));
  return card;
}

function requestOf(carousel) {
  const { placement, count, item, category } = carousel.dataset;
  const context = { page: location.pathname };
  if (item) context.item_id = item;
  if (category) context.category = category;
  return { placement, count: Number(count), context, exclude: item ? [item] : [] };
}

function place(carousel, decision) {
  const track = $(".track", carousel);
  const before = new Map($$(".card[data-item-id]", track).map((card) => [card.dataset.itemId, card.getBoundingClientRect()]));
  const focused = track.contains(document.activeElement) ? document.activeElement.closest(".card")?.dataset.itemId ?? "" : null;
  track.replaceChildren(...decision.items.map((entry) => cardOf(decision, entry)));
  track.setAttribute("aria-busy", "false");
  carousel.dataset.decision = decision.decision_id;
  const note = $(".note", carousel);
  const personal = decision.items.map((entry) => entry.reasons?.[0]).find((reason) => reason?.item_id);
  note.textContent = personal?.text ?? decision.items[0]?.reasons?.[0]?.text ?? note.dataset.note ?? "";
  if (!decision.items.length) track.replaceChildren(make("li", "Nothing to show here yet.", "empty"));
  if (focused !== null) ($(`.card[data-item-id="${CSS.escape(focused)}"] .name`, track) ?? track).focus({ preventScroll: true });
  if (!before.size || calm.matches) return;
  for (const card of $$(".card[data-item-id]", track)) {
    const old = before.get(card.dataset.itemId);
    const now = card.getBoundingClientRect();
    if (!old) card.animate([{ opacity: 0, transform: "scale(.94)" }, { opacity: 1, transform: "none" }], { duration: 320, easing: "ease-out" });
    else if (Math.abs(old.left - now.left) > 2) card.animate([{ transform: `translateX(${old.left - now.left}px)` }, { transform: "none" }], { duration: 380, easing: "cubic-bezier(.2,.8,.2,1)" });
  }
}

async function refresh({ announce = false } = {}) {
  const carousels = $$(".carousel");
  if (!carousels.length) return;
  try {
    const decisions = await shop.decide(carousels.map(requestOf));
    decisions.forEach((decision, i) => {
      if (!decision) return;
      place(carousels[i], decision);
      const seen = shown.get(decision.placement);
      const ids = decision.items.map((entry) => entry.item_id).join();
      if (seen !== ids) {
        shown.set(decision.placement, ids);
        shop.track("product_list_viewed", { list_id: decision.placement, products: decision.items.map((entry) => ({ product_id: entry.item_id, position: entry.rank })) });
        if (announce) say(`${$("h2", carousels[i]).textContent} was updated, ${$(".note", carousels[i]).textContent}`);
      }
    });
  } catch (error) {
    for (const track of $$(".track[aria-busy=true]")) {
      track.setAttribute("aria-busy", "false");
      track.replaceChildren(make("li", "Recommendations are taking a rest. The shop works as ever.", "empty"));
    }
    console.warn(error);
  }
}

// Other tabs and this page hear that something was done, and re-rank.
const channel = "BroadcastChannel" in window ? new BroadcastChannel("opportune") : null;
function acted() {
  channel?.postMessage("acted");
  return refresh({ announce: true });
}
if (channel) channel.onmessage = () => refresh();
addEventListener("pageshow", (event) => { if (event.persisted) refresh(); });

for (const button of $$("[data-move]")) button.addEventListener("click", () => {
  const track = $(".track", button.closest(".carousel"));
  track.scrollBy({ left: Number(button.dataset.move) * track.clientWidth * 0.8, behavior: calm.matches ? "auto" : "smooth" });
});

// ---- why this?

function explain(decision, entry, item) {
  const body = $("#why-body");
  const facts = make("dl", "", "facts");
  const fact = (name, ...content) => {
    const value = make("dd");
    value.append(...content);
    facts.append(make("dt", name), value);
  };
  const link = make("a", decision.decision_id);
  link.href = `${root.dataset.console}/decisions/${encodeURIComponent(decision.decision_id)}`;
  fact("Place", `number ${entry.rank} of ${decision.items.length} in ${decision.placement}, score ${entry.score.toFixed(3)}`);
  fact("Proposed by", (entry.reasons ?? []).map((reason) => reason.code.replaceAll("_", " ")).join(", ") || "the fallback");
  fact("Based on", decision.consent === "personal" ? "what you did here, and your history" : "this page only");
  if (decision.degraded?.length) fact("Skipped", decision.degraded.join(", "));
  fact("Decision", link);
  const took = Object.entries(decision.took_ms ?? {}).filter(([stage]) => stage !== "total" && !stage.includes("."));
  const total = decision.took_ms?.total || 1;
  const table = make("table", "", "took");
  table.append(make("caption", `Decided in ${total.toFixed(2)} ms`));
  for (const [stage, ms] of took) {
    const row = table.insertRow();
    const head = make("th", stage);
    head.scope = "row";
    const meter = Object.assign(document.createElement("meter"), { max: total, value: ms });
    meter.setAttribute("aria-label", `${stage} share of the time`);
    const cell = row.insertCell();
    row.prepend(head);
    cell.append(meter);
    row.append(make("td", `${ms.toFixed(3)} ms`));
  }
  const reasons = make("p", (entry.reasons ?? []).map((reason) => reason.text).join(", and ") || "our recommendation", "because");
  body.replaceChildren(make("p", item.name, "why-name"), reasons, facts, table);
  $("#why").showModal();
}

for (const dialog of $$("dialog")) {
  $(".close", dialog).addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}

// ---- who is shopping

function showPerson() {
  $("#who-name").textContent = shop.userId ? `Customer ${shop.userId}` : "Guest";
  $("#who").setAttribute("aria-label", shop.userId ? `Shopping as customer ${shop.userId}, change` : "Shopping as a guest, sign in");
  $("#sign-out").hidden = !shop.userId;
}
$("#who").addEventListener("click", () => $("#person").showModal());
$("#sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const customer = event.submitter?.value || $("#customer-number").value.trim();
  if (!customer) return;
  if (shop.userId && shop.userId !== customer) shop.reset();
  $("#person").close();
  await shop.identify(customer);
  showPerson();
  say(`You are customer ${customer} now.`);
  acted();
});
$("#sign-out").addEventListener("click", () => {
  shop.reset();
  showPerson();
  $("#person").close();
  say("You are a new guest now.");
  acted();
});
$("#theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* kept for this page only */ }
});

// ---- what this page is about

async function rerank(list) {
  const tiles = new Map($$(".tile", list).map((tile) => [tile.dataset.itemId, tile]));
  const query = $("#search-note")?.dataset.query ?? "";
  try {
    const [decision] = await shop.decide([{ placement: list.dataset.placement, candidates: [...tiles.keys()], count: tiles.size, context: { page: location.pathname, search: query }, deadline_ms: 200 }]);
    for (const entry of decision?.items ?? []) {
      const tile = tiles.get(entry.item_id);
      if (tile) { list.append(tile); tile.dataset.decision = decision.decision_id; tile.dataset.position = entry.rank; tiles.delete(entry.item_id); }
    }
    for (const left of tiles.values()) list.append(left);
  } catch (error) { console.warn(error); }
  list.classList.add("ready");
}

for (const tile of $$(".tile")) $("a", tile).addEventListener("click", () => {
  shop.track("product_clicked", { product_id: tile.dataset.itemId, position: Number(tile.dataset.position), list_id: tile.parentElement.dataset.list }, tile.dataset.decision ?? "");
});
for (const button of $$(".remove")) button.addEventListener("click", async () => {
  const line = button.closest("li");
  const basket = readBasket();
  basket.delete(line.dataset.itemId);
  writeBasket(basket);
  await shop.track("product_removed", productOf({ ...line.dataset, item_id: line.dataset.itemId }, { quantity: Number(line.dataset.quantity) }));
  location.reload();
});
$("#buy")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const { itemId, name, price, category } = $("#product").dataset;
  addToBasket({ item_id: itemId, name, price, category }, Math.max(1, Number($("#quantity").value) || 1));
});
$("#checkout")?.addEventListener("click", async (event) => {
  event.target.disabled = true;
  const products = $$(".lines > li").map((line) => productOf({ ...line.dataset, item_id: line.dataset.itemId }, { quantity: Number(line.dataset.quantity) }));
  await shop.track("order_completed", { order_id: `demo-${Date.now().toString(36)}`, total: Number(event.target.dataset.total), currency: "GBP", products });
  writeBasket(new Map());
  location.assign("/thank-you");
});

async function start() {
  showPerson();
  shop.page(root.dataset.page);
  const product = $("#product");
  if (product) {
    const { itemId, name, price, category } = product.dataset;
    shop.track("product_viewed", productOf({ item_id: itemId, name, price, category }));
    shop.sending.then(() => channel?.postMessage("acted"));
  }
  const note = $("#search-note");
  if (note?.dataset.query) shop.track("products_searched", { query: note.dataset.query, hits: Number(note.dataset.hits) });
  if (root.dataset.page === "category") shop.track("product_list_viewed", { list_id: $(".grid")?.dataset.list, category: $(".grid")?.dataset.category });
  if (root.dataset.page === "cart") shop.track("cart_viewed", {});
  for (const list of $$(".rerank")) rerank(list);
  await refresh();
}
start();
