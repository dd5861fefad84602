// Live parts, the theme, the menu. Everything works without this file; it only keeps pages fresh.

const root = document.documentElement;
let paused = false;

document.getElementById("theme")?.addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* kept for this page only */ }
});

// On a phone the menu starts closed.
const menu = document.querySelector(".menu");
const narrow = matchMedia("(max-width: 60rem)");
const fold = () => { if (menu) menu.open = !narrow.matches; };
fold();
narrow.addEventListener("change", fold);

for (const button of document.querySelectorAll("[data-pause]")) button.addEventListener("click", () => {
  paused = !paused;
  button.setAttribute("aria-pressed", String(paused));
  button.textContent = paused ? "Go on" : "Pause";
});

const address = (extra) => {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(extra)) url.searchParams.set(name, value);
  return url;
};

async function fetchRows(extra) {
  const response = await fetch(address({ rows: 1, ...extra }), { headers: { accept: "text/html" }, redirect: "error" });
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return response.text();
}

// A whole part of the page, again and again; not while somebody reads a table in it or has the keyboard there.
for (const part of document.querySelectorAll("[data-live]")) every(Number(part.dataset.live), async () => {
  if (part.contains(document.activeElement) || part.querySelector("details[open]")) return;
  part.innerHTML = await fetchRows({});
});

// New rows on top of a table.
for (const body of document.querySelectorAll("[data-append]")) every(Number(body.dataset.append), async () => {
  const html = await fetchRows({ after: body.dataset.newest });
  const holder = document.createElement("template");
  holder.innerHTML = `<table><tbody>${html}</tbody></table>`;
  const rows = [...holder.content.querySelectorAll("tr")];
  if (!rows.length) return;
  body.dataset.newest = rows[0].dataset.seq;
  for (const row of rows) row.classList.add("fresh");
  body.prepend(...rows);
  while (body.rows.length > Number(body.dataset.most)) body.deleteRow(-1);
  document.querySelector("[data-until-rows]")?.remove();
});

function every(ms, act) {
  let failures = 0;
  const tick = async () => {
    if (!paused && document.visibilityState === "visible") {
      try {
        await act();
        failures = 0;
        root.classList.remove("stale");
      } catch (error) {
        failures += 1;
        root.classList.add("stale");
        console.warn(error);
      }
    }
    setTimeout(tick, ms * Math.min(2 ** failures, 20));
  };
  setTimeout(tick, ms);
}
