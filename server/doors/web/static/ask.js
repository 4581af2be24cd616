// A question is answered in its page, each tool call shown as it runs. Without this the form is sent
// and the page comes back with the answer.
"use strict";

const form = document.getElementById("ask"), talk = document.getElementById("talk");
const stop = document.getElementById("stop");
const secret = document.querySelector('meta[name="csrf"]').content;
let conversation = form?.dataset.conversation || "";

function made(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text) element.textContent = text;
  return element;
}

function post(path, body, accept) {
  const headers = { "content-type": "application/json", accept, "x-pilothouse-csrf": secret };
  return fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
}

async function* told(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const pieces = (rest + value).split("\n\n");
    rest = pieces.pop();
    for (const piece of pieces) {
      const data = piece.split("\n").find((line) => line.startsWith("data: "));
      if (data) yield JSON.parse(data.slice(6));
    }
  }
}

// The turn as it comes; at its end the server's own page of it takes its place.
function begin(message) {
  const turn = made("article", "turn"), calls = made("ol", "used");
  turn.append(made("p", "said-by", "You"), made("p", "words", message), made("p", "said-by", "Pilothouse"), calls);
  turn.setAttribute("aria-busy", "true");
  talk.append(turn);
  let words = null;
  return {
    turn,
    text(piece) {
      if (!words) { words = made("p", "words"); turn.append(words); }
      words.textContent = (words.textContent + piece).trimStart();
    },
    calling(event) {
      words = null;
      const line = made("li");
      line.id = `use-${event.id}`;
      const given = Object.entries(event.arguments).map(([k, v]) => `${k}=${typeof v === "string" ? v : JSON.stringify(v)}`);
      line.append(made("code", "", event.tool), made("span", "faint", ` ${given.join(" ").slice(0, 200)} `), made("span", "state busy", "running"));
      calls.append(line);
    },
    called(event) {
      const state = document.querySelector(`#${CSS.escape(`use-${event.id}`)} .state`);
      const word = event.outcome.state === "planning" ? "previewed" : event.outcome.state;
      state.textContent = word.replaceAll("_", " ");
      state.className = `state ${event.outcome.error ? "bad" : word.startsWith("awaiting") ? "wait" : "good"}`;
    },
    again(event) {
      words?.remove();
      words = null;
      turn.append(made("p", "note", `${event.why}; asking again…`));
    },
    failed(message) { turn.append(made("p", "problem", message)); turn.removeAttribute("aria-busy"); },
  };
}

async function show(path) {
  const answer = await fetch(path, { headers: { accept: "text/html" } });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  talk.replaceChildren(...document.importNode(page.getElementById("talk"), true).childNodes);
  talk.lastElementChild?.scrollIntoView({ block: "nearest" });
}

async function ask(message) {
  const shown = begin(message);
  const answer = await post("/api/v1/chat", { message, conversation }, "text/event-stream");
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    shown.failed(`${problem.detail || "It did not answer."} ${problem.hint || ""}`);
    return false;
  }
  for await (const event of told(answer)) {
    if (event.type === "begun") {
      conversation = event.conversation;
      stop.hidden = false;
    } else if (event.type === "done") {
      history.replaceState(null, "", `/ask/${conversation}`);
      await show(`/ask/${conversation}`);
      document.getElementById("live").textContent = "Pilothouse has answered.";
      return true;
    } else if (event.type === "text") shown.text(event.text);
    else shown[event.type]?.(event);
    shown.turn.scrollIntoView({ block: "end" });
  }
  shown.failed("The answer broke off. What was said is kept: ask again to go on.");
  return false;
}

stop?.addEventListener("click", () => post(`/api/v1/chat/${conversation}/cancel`, {}, "application/json"));

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  event.stopPropagation(); // page.js disables what was sent and leaves the page
  const field = form.elements.message, button = form.querySelector("button.first");
  const message = field.value.trim();
  if (!message || button.disabled) return;
  button.disabled = true;
  try {
    field.value = "";
    if (!(await ask(message))) field.value = message;
  } catch {
    field.value = message;
  } finally {
    button.disabled = false;
    stop.hidden = true;
    field.focus({ preventScroll: true });
  }
});

form?.elements.message.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
});
