// Marks: pick, reject, reason, note, and what was seen. They belong to a picture's SHA-256, so that a picture bought
// anew begins without. The browser keeps them under one key a picture; two windows of one page stay in step.
//
// A page may read the storage before it has what another window, or the same page before a reload, wrote last: each is a
// process of its own. So a page writes a mark only when a person changes it. What was seen has keys of its own: under
// the key of the mark, a page that did not have the mark yet would delete it by noting that the picture was seen.
const REASONS = ["wrong product", "flaw", "light or background"];
const PREFIX = "runner.mark.";
const SEEN = "runner.seen.";
const UNDO = `runner.undo.${location.pathname}`;
const MOST_STEPS_KEPT = 500;
const MOST_TEXT_KEPT = 200_000;
const NO_MARK = Object.freeze({});
const marks = new Map();
const seen = new Set();
const disputed = new Map();
let undoSteps = [];
let keepsMarks = true;

// Give each card the key of its marks: the hash alone, or with the id where several cards show the same bytes.
const sharing = new Map();
for (const card of cards) sharing.set(card.sha256, (sharing.get(card.sha256) ?? 0) + 1);
for (const card of cards) {
  const alone = card.sha256 && sharing.get(card.sha256) === 1;
  card.key = alone ? card.sha256 : `${card.sha256 || DATA.name}/${titleOf(card)}`;
}
const keyOf = (card) => card.key;
const byKey = new Map(cards.filter((card) => card.pictured).map((card) => [card.key, card]));
const markOf = (card) => marks.get(keyOf(card)) ?? NO_MARK;
const isSeen = (card) => seen.has(keyOf(card)) || Boolean(markOf(card).mark);

const readStored = (key) => {
  try {
    const { mark, reason, note, seen: wasSeen } = JSON.parse(localStorage.getItem(PREFIX + key) ?? "{}");
    if (wasSeen || localStorage.getItem(SEEN + key)) seen.add(key);
    const found = cleanMark({ mark, reason, note });
    if (found) marks.set(key, found); else marks.delete(key);
  } catch { /* something else's text, or no storage */ }
};

// Read the steps that undo takes back: lists of a picture's key, its mark before the step, and its mark after it.
const readSteps = () => {
  try {
    const found = JSON.parse(localStorage.getItem(UNDO) ?? "[]");
    const clean = (mark) => mark && cleanMark(mark);
    undoSteps = found.map((step) => step.map(([key, before, after]) => [String(key), clean(before), clean(after)]));
  } catch { /* something else's text, or no storage */ }
};

// Return a mark with only what a mark has, or null if nothing is left of it.
const cleanMark = ({ mark, reason, note }) => {
  const found = {};
  if (mark === "pick" || mark === "reject") found.mark = mark;
  if (found.mark === "reject" && typeof reason === "string" && reason) found.reason = reason.slice(0, 200);
  if (typeof note === "string" && note.trim()) found.note = note.trim().slice(0, 2000);
  return Object.keys(found).length ? found : null;
};

const keep = (name, text) => {
  try {
    if (text) localStorage.setItem(name, text); else localStorage.removeItem(name);
  } catch {
    if (keepsMarks) say("This browser keeps no marks for this page: save the selection before you close it.");
    keepsMarks = false;
  }
};

const setStored = (key, mark) => {
  if (mark) marks.set(key, mark); else marks.delete(key);
  keep(PREFIX + key, mark && JSON.stringify(mark));
};

// Keep the newest steps, as many as are sure to find room.
const keepSteps = () => {
  let kept = undoSteps.slice(-MOST_STEPS_KEPT), text = JSON.stringify(kept);
  while (text.length > MOST_TEXT_KEPT) {
    kept = kept.slice(Math.ceil(kept.length / 2));
    text = JSON.stringify(kept);
  }
  keep(UNDO, kept.length ? text : "");
};

const same = (one, other) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);

// Change the marks of cards in one step that undo takes back. ``changes`` has pairs of a card and its new mark or null.
const change = (changes) => {
  const step = [];
  for (const [card, wanted] of changes) {
    const key = keyOf(card), before = marks.get(key) ?? null, after = (wanted && cleanMark(wanted)) ?? null;
    if (same(before, after)) continue;
    step.push([key, before, after]);
    setStored(key, after);
  }
  if (step.length) { undoSteps.push(step); keepSteps(); }
  showMarks(step.map(([key]) => byKey.get(key)).filter(Boolean));
  return step.length;
};

// Take back the last step and return its first card; undefined if there is nothing to take back. A picture that is gone,
// or that was marked otherwise since, in another window, is left as it is.
const undo = () => {
  while (undoSteps.length) {
    const back = undoSteps.pop().filter(([key, , after]) => byKey.has(key) && same(marks.get(key), after));
    for (const [key, before] of back) setStored(key, before);
    if (!back.length) continue;
    keepSteps();
    const changed = back.map(([key]) => byKey.get(key));
    showMarks(changed);
    return changed[0];
  }
  keepSteps();
  return undefined;
};

const setMark = (card, mark, reason) => {
  const now = markOf(card);
  const again = now.mark === mark && (now.reason ?? "") === (reason ?? "");
  change([[card, { note: now.note, ...(!again && { mark, reason }) }]]);
  return !again;
};

const noteSeen = (list) => {
  const fresh = list.filter((card) => card.pictured && !isSeen(card));
  for (const card of fresh) { seen.add(keyOf(card)); keep(SEEN + keyOf(card), "1"); }
  if (fresh.length) showCounts();
};

const withMark = (mark) => cards.filter((card) => card.pictured && markOf(card).mark === mark);
const words = (card) => {
  const { mark, reason, note } = markOf(card);
  const said = { pick: "picked", reject: `rejected${reason ? `, ${reason}` : ""}` }[mark];
  return [said, note && `note: ${note}`].filter(Boolean).join("; ");
};

const readAll = () => {
  for (const key of byKey.keys()) readStored(key);
  readSteps();
};
readAll();
addEventListener("storage", ({ key }) => {
  if (key === UNDO) readSteps();
  const card = key?.startsWith(PREFIX) && byKey.get(key.slice(PREFIX.length));
  if (card) { readStored(keyOf(card)); showMarks([card]); }
});
// A page that the browser had put away heard nothing of other windows meanwhile.
addEventListener("pageshow", ({ persisted }) => { if (persisted) { readAll(); showMarks(cards.filter((card) => card.pictured)); } });
