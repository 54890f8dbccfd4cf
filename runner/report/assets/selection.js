// The selection as a file: saving, opening, and merging the marks of two people.
const toSelection = () => ({
  version: 1,
  batch: DATA.name,
  pictures: cards.filter((card) => card.pictured && markOf(card) !== NO_MARK).map((card) => {
    const { mark = "", reason = "", note = "" } = markOf(card);
    return { id: card.id, file: card.path, sha256: card.sha256, mark, reason, note };
  }),
});

const saveSelection = () => {
  const text = `${JSON.stringify(toSelection(), null, 1)}\n`;
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = "selection.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  say(`selection.json: ${count(toSelection().pictures.length, "picture")}. The browser puts it where downloads go.`);
};

// Return the pictures of a selection file. Throws an Error with words for a person.
const readSelection = (text) => {
  let found;
  try { found = JSON.parse(text); } catch { throw new Error("This file is no selection: it is not JSON."); }
  if (found?.version > 1) throw new Error("This selection is of a newer version of the page.");
  if (found?.version !== 1 || !Array.isArray(found.pictures)) throw new Error("This file is no selection.");
  return found.pictures.filter((one) => one && typeof one === "object");
};

// Return the card of a picture in a selection: the one with the same bytes, by its id where several have them.
const cardOf = (picture, byHash) => {
  const same = byHash.get(picture.sha256) ?? [];
  return same.length > 1 ? same.find((card) => card.id === picture.id && (!picture.file || !card.path || card.path === picture.file)) : same[0];
};

// Take over the marks of a selection: one step, which undo takes back. A picture that is marked here in another way
// keeps its mark, and is listed as disputed; notes of both are kept.
const merge = (pictures) => {
  const byHash = Map.groupBy ? Map.groupBy(cards.filter((card) => card.sha256), (card) => card.sha256) : groupByHash();
  const changes = [];
  let strange = 0, differ = 0;
  for (const picture of pictures) {
    const card = cardOf(picture, byHash);
    if (!card?.pictured) { strange++; continue; }
    const mine = markOf(card), theirs = cleanMark(picture) ?? NO_MARK;
    const differs = mine.mark && theirs.mark && mine.mark !== theirs.mark;
    if (differs) { disputed.set(keyOf(card), theirs); differ++; }
    const verdict = mine.mark ? mine : { ...mine, mark: theirs.mark, reason: theirs.reason };
    changes.push([card, { ...verdict, reason: verdict.reason || (differs ? "" : theirs.reason), note: bothNotes(mine.note, theirs.note) }]);
  }
  const taken = change(changes);
  for (const [card] of changes) showMark(card);
  return { taken, differ, strange };
};

const groupByHash = () => {
  const found = new Map();
  for (const card of cards) if (card.sha256) found.set(card.sha256, [...(found.get(card.sha256) ?? []), card]);
  return found;
};

const bothNotes = (mine = "", theirs = "") => {
  if (!theirs || mine.split("\n").includes(theirs) || mine === theirs) return mine;
  return mine ? `${mine}\n${theirs}` : theirs;
};

const openSelection = async (file) => {
  try {
    const { taken, differ, strange } = merge(readSelection(await file.text()));
    const parts = [`${count(taken, "mark")} taken over from ${file.name}`];
    if (differ) parts.push(`${count(differ, "picture")} marked otherwise here: search is:disputed`);
    if (strange) parts.push(`${count(strange, "picture")} of it not on this page`);
    say(`${parts.join("; ")}.`);
  } catch (error) {
    say(error instanceof Error ? error.message : "This file cannot be read.");
  }
};

// Give disputed pictures the marks of the file that was opened.
const takeTheirs = (list) => {
  const changes = list.filter((card) => disputed.has(keyOf(card)))
    .map((card) => [card, { ...disputed.get(keyOf(card)), note: markOf(card).note }]);
  for (const [card] of changes) disputed.delete(keyOf(card));
  change(changes);
};

// ---- back to work

const showWork = () => {
  const rejected = withMark("reject"), jobs = new Set(rejected.map((card) => card.id)).size;
  const picked = withMark("pick").length;
  $("redo-count").textContent = rejected.length
    ? `${count(rejected.length, "rejected picture")}: ${count(jobs, "job")} to buy again, for money.`
    : "Nothing is rejected.";
  $("redo").hidden = !rejected.length;
  $("pick-count").textContent = picked ? `${count(picked, "picture")} picked.` : "Nothing is picked.";
  $("work").showModal();
};

const copyText = async (field, button) => {
  try {
    await navigator.clipboard.writeText(field.value);
  } catch {
    field.select();
    document.execCommand("copy");
  }
  button.textContent = "Copied";
};
