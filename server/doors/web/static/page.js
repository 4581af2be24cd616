// What the page does by itself: dates in the reader's zone, parts that follow what happens, logs
// that are read as they are written. Without it everything else still works.
"use strict";

document.documentElement.classList.add("js");
const QUIET_MS = 250, AGAIN_MS = 5000, ASKING_MS = 1000, MOST_LOG = 400_000;

function localTimes(root) {
  const today = new Date().toDateString();
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (isNaN(at)) continue;
    const near = at.toDateString() === today;
    time.textContent = at.toLocaleString([], near
      ? { hour: "2-digit", minute: "2-digit", second: "2-digit" }
      : { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
    time.title = at.toLocaleString([], { dateStyle: "full", timeStyle: "long" });
  }
}

// ---- parts that follow what happens

const parts = () => [...document.querySelectorAll("[data-live]")];

function inUse(part) {
  return [...part.querySelectorAll("input, select, textarea")].some((field) =>
    field.type === "checkbox" ? field.checked !== field.defaultChecked
      : field.type !== "hidden" && field.tagName !== "SELECT" && field.value !== field.defaultValue)
    || part.querySelector(".preview, .pop[open], form .problem");
}

const bare = (part) => part.innerHTML.replace(/name="key" value="[^"]*"/g, "").replace(/<time[^]*?<\/time>/g, "");

function put(old, fresh) {
  const focus = old.contains(document.activeElement) && document.activeElement;
  const way = focus && (focus.id ? `#${CSS.escape(focus.id)}` : focus.href ? `a[href="${CSS.escape(focus.getAttribute("href"))}"]` : "");
  for (const open of old.querySelectorAll("details[open][id]")) {
    fresh.querySelector(`#${CSS.escape(open.id)}`)?.setAttribute("open", "");
  }
  localTimes(fresh);
  old.replaceWith(fresh);
  if (way) fresh.querySelector(way)?.focus({ preventScroll: true });
}

let asked = false, shown = document.documentElement;
async function refresh() {
  if (asked || document.hidden) return;
  asked = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.redirected && new URL(answer.url).pathname === "/signin") { location.reload(); return; }
    if (!answer.ok) return;
    shown = new DOMParser().parseFromString(await answer.text(), "text/html");
    let changed = false;
    for (const old of parts()) {
      const fresh = shown.getElementById(old.id);
      if (!fresh && old.id === "problem") { location.reload(); return; } // it answers again
      if (!fresh || inUse(old)) continue;
      const before = bare(old), copy = document.importNode(fresh, true);
      localTimes(copy);
      if (bare(copy) === before) continue;
      put(old, copy);
      changed = true;
    }
    const there = document.getElementById("waiting"), link = document.querySelector('nav a[href="/approvals"]');
    const now = shown.getElementById("waiting");
    if (!there && now && link) link.append(document.importNode(now, true));
    if (there && !now) there.remove();
    if (changed) document.getElementById("live").textContent = "The page was brought up to date.";
    document.title = shown.title;
  } catch { /* the next time */ } finally { asked = false; }
}

let soon = 0;
function refreshSoon() {
  clearTimeout(soon);
  soon = setTimeout(refresh, QUIET_MS);
}

function follows(name) {
  return parts().some((part) => (part.dataset.events || "call").split(" ").includes(name));
}

// A hidden page lets its connection go: a browser has six of them for all of its pages.
let events = null;
function listen() {
  if (document.hidden) { events?.close(); events = null; return; }
  if (events || !parts().length) return;
  events = new EventSource("/api/v1/events");
  for (const name of ["call", "recommendation", "metrics"]) {
    events.addEventListener(name, () => follows(name) && refreshSoon());
  }
  events.addEventListener("progress", (event) => {
    const { id } = JSON.parse(event.data);
    if (parts().some((part) => part.dataset.call === id)) refreshSoon();
  });
  for (const name of ["reset", "dropped"]) events.addEventListener(name, refreshSoon);
}

function keepUp() {
  const every = parts().find((part) => part.dataset.poll)?.dataset.poll;
  const asking = document.querySelector("[data-asking]");
  // How far it has come is no event.
  if (asking || every || (parts().length && events?.readyState !== EventSource.OPEN)) refresh();
  setTimeout(keepUp, asking ? ASKING_MS : every ? every * 1000 : AGAIN_MS);
}

// ---- logs

function wanted(log, line) {
  const words = document.querySelector(`[data-grep="${log.id}"]`)?.value.toLowerCase();
  return !words || line.toLowerCase().includes(words);
}

document.addEventListener("input", (event) => {
  const log = document.getElementById(event.target.dataset?.grep || "");
  if (!log) return;
  if (!log.children.length) log.replaceChildren(...log.textContent.split(/(?<=\n)/).map((line) => Object.assign(document.createElement("span"), { textContent: line })));
  for (const line of log.children) line.hidden = !wanted(log, line.textContent);
});

async function follow(log) {
  const near = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  let length = 0;
  const add = (text) => {
    const stay = near();
    for (const line of text.split(/(?<=\n)/)) {
      const shown = document.createElement("span");
      shown.textContent = line;
      shown.hidden = !wanted(log, line);
      log.append(shown);
      length += line.length;
    }
    for (; length > MOST_LOG; log.firstChild.remove()) length -= log.firstChild.textContent.length;
    if (stay) log.scrollTop = log.scrollHeight;
  };
  log.textContent = "";
  try {
    const from = new URL(log.dataset.follow, location);
    from.searchParams.set("follow", "1");
    const answer = await fetch(from);
    if (!answer.ok) throw new Error(answer.status);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines.filter(Boolean)) {
        const piece = JSON.parse(line);
        if (piece.text) add(piece.text);
        if ("line" in piece) add(`${piece.pod ? `${piece.pod}: ` : ""}${piece.line}\n`);
        if (piece.note) add(`— ${piece.note}\n`);
        if (piece.error) add(`— ${piece.error.message} ${piece.error.hint}\n`);
        if (piece.done) refreshSoon();
      }
    }
    if (!log.textContent) add("It has logged nothing.");
  } catch { add("— The log broke off; load the page again to read on.\n"); }
}

// ---- forms

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  // Once it is sent: a button that is off says nothing of itself.
  setTimeout(() => form.querySelectorAll("button").forEach((button) => { button.disabled = true; }));
});
window.addEventListener("pageshow", (event) => {
  if (event.persisted) document.querySelectorAll("button[disabled]").forEach((button) => { button.disabled = false; });
});
document.addEventListener("change", (event) => {
  const name = event.target.dataset?.all;
  if (name) document.querySelectorAll(`input[type=checkbox][form="${name}"]`).forEach((box) => { box.checked = event.target.checked; });
});

// A picture that is not there leaves its words.
document.addEventListener("error", (event) => event.target.closest?.(".shot")?.remove(), true);

localTimes(document);
document.querySelector("nav a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
document.querySelectorAll("[data-follow]").forEach(follow);
document.querySelector(".preview, form .problem")?.scrollIntoView({ block: "nearest" });
document.addEventListener("visibilitychange", () => { listen(); if (!document.hidden) refreshSoon(); });
listen();
setTimeout(keepUp, QUIET_MS * 4);
