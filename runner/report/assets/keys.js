// What a person can do, by key or by button. A mark goes to the current card if it is on the screen, else nowhere.
const target = () => {
  if (!current) { say("There is no picture here."); return null; }
  if (!view.open && !isVisible(current)) {
    const first = visibleCards().find((card) => card.pictured) ?? current;
    point(first);
    say(`Now at ${titleOf(first)}: the picture before was off the screen, and was not marked.`);
    return null;
  }
  if (view.open && oldShown) {
    say("This is the picture that was replaced, and was not marked: o shows the present one.");
    return null;
  }
  if (!current.pictured) { say("There is no picture to mark."); return null; }
  return current;
};

const mark = (verdict, card = target(), reason = undefined) => {
  if (!card) return;
  const set = setMark(card, verdict, reason);
  say(set ? `${titleOf(card)}: ${words(card)}` : `${titleOf(card)}: mark taken back`);
  if (!set || panes.length > 1) return;
  if (view.open) stepView(1); else point(beside(1));
};

const takeBack = () => {
  const card = undo();
  if (!card) { say("Nothing to undo."); return; }
  say(`Taken back: ${titleOf(card)}${words(card) ? ` is ${words(card)}` : " is unmarked"}`);
  if (!shown.includes(card)) return;
  point(card, !view.open);
  if (view.open && panes.length === 1) openView([card]); else if (view.open) showView();
};

const writeNote = () => {
  const card = target();
  if (!card) return;
  $("note-title").textContent = `Note on ${titleOf(card)}`;
  $("note-text").value = markOf(card).note ?? "";
  for (const button of document.querySelectorAll("[data-reason]"))
    button.setAttribute("aria-pressed", markOf(card).reason === REASONS[button.dataset.reason]);
  $("note").showModal();
  $("note-text").focus();
};
const keepNote = () => {
  change([[current, { ...markOf(current), note: $("note-text").value }]]);
  $("note").close();
};

const choose = () => {
  const card = target();
  if (!card) return;
  if (!chosen.delete(card)) {
    if (chosen.size === MOST_PANES) { say(`At most ${MOST_PANES} can be compared.`); return; }
    chosen.add(card);
  }
  showMark(card);
  say(chosen.size ? `${count(chosen.size, "picture")} chosen to compare: ${[...chosen].map(titleOf).join(", ")}` : "None chosen.");
};

const large = () => { if (current) openView([current]); };
const inLarge = (act) => () => { if (!view.open) large(); if (view.open) act(); };

const ACTS = {
  pick: () => mark("pick"), reject: () => mark("reject"), undo: takeBack, note: writeNote, choose, compare, large,
  zoom: inLarge(() => toggleZoom()), old: inLarge(showOld), before: () => stepView(-1), after: () => stepView(1),
  close: () => view.close(), help: () => $("help").showModal(), save: saveSelection, work: showWork,
  open: () => $("file").click(), search: () => { $("q").focus(); $("q").select(); },
  theirs: () => takeTheirs(shown),
};
const KEYS = {
  p: "pick", x: "reject", u: "undo", n: "note", s: "choose", c: "compare", z: "zoom", o: "old", Enter: "large", " ": "large",
};
const GRID_KEYS = { "/": "search", "?": "help" };
const STEPS = { ArrowLeft: -1, h: -1, ArrowRight: 1, l: 1, ArrowUp: -1, k: -1, ArrowDown: 1, j: 1 };
const LINES = { ArrowUp: -1, k: -1, ArrowDown: 1, j: 1 };

const inView = (event) => {
  const { key } = event;
  if (event.shiftKey && key.startsWith("Arrow") && isZoomed()) {
    pan(...{ ArrowLeft: [120, 0], ArrowRight: [-120, 0], ArrowUp: [0, 120], ArrowDown: [0, -120] }[key]);
    return true;
  }
  if (key in STEPS) { stepView(STEPS[key]); return true; }
  if (key === "Enter" || key === " ") return false;
  return anywhere(key);
};

const inGrid = ({ key }) => {
  if (key in GRID_KEYS) { ACTS[GRID_KEYS[key]](); return true; }
  if (!current) return false;
  if (key === "Home" || key === "End") { point(shown.at(key === "Home" ? 0 : -1)); return true; }
  if (key in STEPS) {
    const here = tiles.get(current.index)?.contains(document.activeElement);
    point(!here ? current : key in LINES ? besideLine(layout, current, LINES[key]) : beside(STEPS[key]));
    return true;
  }
  return anywhere(key);
};

// Carry out a key that means the same everywhere; return whether it means anything.
const anywhere = (key) => {
  if (/^[1-3]$/.test(key)) { mark("reject", undefined, REASONS[key - 1]); return true; }
  if (!Object.hasOwn(KEYS, key)) return false;
  ACTS[KEYS[key]]();
  return true;
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target === $("q") && (event.key === "Escape" || event.key === "Enter")) { if (current) point(current); return; }
  if (event.target.matches("input, select, textarea, video, audio, summary")) return;
  if (event.target.matches("button:not(.open), a") && (event.key === "Enter" || event.key === " ")) return;
  if (document.querySelector("dialog[open]:not(#view)")) return;
  if (view.open ? inView(event) : inGrid(event)) event.preventDefault();
});
