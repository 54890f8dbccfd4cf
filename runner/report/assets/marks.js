// Marks: pick, reject, reason, note, and what was seen. They belong to a picture's SHA-256, so that a picture bought
// anew begins without. The browser keeps them under one key a picture; two windows of one page stay in step.
const REASONS = ["wrong product", "flaw", "light or background"];
const PREFIX = "runner.mark.";
const NO_MARK = Object.freeze({});
const marks = new Map();
const seen = new Set();
const disputed = new Map();
const undoSteps = [];
let keepsMarks = true;

// Give each card the key of its marks: the hash alone, or with the id where several cards show the same bytes.
const sharing = new Map();
for (const card of cards) sharing.set(card.sha256, (sharing.get(card.sha256) ?? 0) + 1);
for (const card of cards) {
  const alone = card.sha256 && sharing.get(card.sha256) === 1;
  card.key = alone ? card.sha256 : `${card.sha256 || DATA.name}/${titleOf(card)}`;
}
const keyOf = (card) => card.key;
const markOf = (card) => marks.get(keyOf(card)) ?? NO_MARK;
const isSeen = (card) => seen.has(keyOf(card)) || Boolean(markOf(card).mark);

const readStored = (key) => {
  try {
    const { mark, reason, note, seen: wasSeen } = JSON.parse(localStorage.getItem(PREFIX + key) ?? "{}");
    if (wasSeen) seen.add(key);
    const found = cleanMark({ mark, reason, note });
    if (found) marks.set(key, found); else marks.delete(key);
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

const store = (key) => {
  try {
    const kept = { ...marks.get(key), ...(seen.has(key) && { seen: 1 }) };
    if (Object.keys(kept).length) localStorage.setItem(PREFIX + key, JSON.stringify(kept));
    else localStorage.removeItem(PREFIX + key);
  } catch {
    if (keepsMarks) say("This browser keeps no marks for this page: save the selection before you close it.");
    keepsMarks = false;
  }
};

// Change the marks of cards in one step that undo takes back. ``changes`` has pairs of a card and its new mark or null.
const change = (changes) => {
  const step = [];
  for (const [card, wanted] of changes) {
    const key = keyOf(card), before = marks.get(key) ?? null, after = wanted && cleanMark(wanted);
    if (JSON.stringify(before) === JSON.stringify(after)) continue;
    step.push({ card, before });
    if (after) marks.set(key, after); else marks.delete(key);
    store(key);
  }
  if (step.length) undoSteps.push(step);
  showMarks(step.map(({ card }) => card));
  return step.length;
};

// Take back the last step and return its first card; undefined if there is nothing to take back.
const undo = () => {
  const step = undoSteps.pop() ?? [];
  for (const { card, before } of step) {
    if (before) marks.set(keyOf(card), before); else marks.delete(keyOf(card));
    store(keyOf(card));
  }
  showMarks(step.map(({ card }) => card));
  return step[0]?.card;
};

const setMark = (card, mark, reason) => {
  const now = markOf(card);
  const same = now.mark === mark && (now.reason ?? "") === (reason ?? "");
  change([[card, { note: now.note, ...(!same && { mark, reason }) }]]);
  return !same;
};

const noteSeen = (list) => {
  const fresh = list.filter((card) => card.pictured && !isSeen(card));
  for (const card of fresh) { seen.add(keyOf(card)); store(keyOf(card)); }
  if (fresh.length) showCounts();
};

const withMark = (mark) => cards.filter((card) => card.pictured && markOf(card).mark === mark);
const words = (card) => {
  const { mark, reason, note } = markOf(card);
  const said = { pick: "picked", reject: `rejected${reason ? `, ${reason}` : ""}` }[mark];
  return [said, note && `note: ${note}`].filter(Boolean).join("; ");
};

for (const card of cards) if (card.pictured) readStored(keyOf(card));
addEventListener("storage", (event) => {
  const card = event.key?.startsWith(PREFIX) && cards.find((one) => keyOf(one) === event.key.slice(PREFIX.length));
  if (card) { readStored(keyOf(card)); showMarks([card]); }
});
