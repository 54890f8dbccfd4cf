// The large view: one picture with its facts, or two to four side by side.
const view = $("view");
const MOST_PANES = 4;
let panes = [];
let oldShown = 0;
let ready = [];

const facts = (card) => [
  ["Product", groups[card.group].title], ...Object.entries(card.keys), ["Model", card.model], ["Size", card.size],
  ["Kind", card.other], ["Other inputs", card.inputs], ["Cost", card.cost],
  ["Took", card.seconds === null ? "" : `${card.seconds.toFixed(1)} s`], ["Time", card.at], ["Request", card.request],
  ["File", card.path], ["Warning", card.warning],
].filter(([name, value]) => value && !(name === "Product" && value === card.id));

const makePane = (card) => {
  const pane = make("figure", "", "pane");
  pane.dataset.card = card.index;
  const media = makeLarge(card);
  if (media.localName === "img") media.addEventListener("load", applyZoom);
  pane.append(media, make("span", "", "verdict"));
  if (panes.length > 1) {
    const caption = make("figcaption");
    const name = makeButton(titleOf(card), "name", () => { point(card, false); showView(); });
    const pick = makeButton("Pick", "pick", () => mark("pick", card)), reject = makeButton("Reject", "reject", () => mark("reject", card));
    caption.append(name, make("span", [card.size, card.cost].filter(Boolean).join(" · ")), pick, reject);
    pane.append(caption);
  }
  return pane;
};

const makeStage = () => {
  stopPlayers(stage);
  stage.replaceChildren(...panes.map(makePane));
  stage.dataset.panes = panes.length;
  oldShown = 0;
  applyZoom();
};

// Show what is said of the current card beside and below the stage.
const showView = () => {
  const card = current, alone = panes.length === 1;
  $("panel").hidden = !alone;
  $("view-title").textContent = alone ? titleOf(card) : `${panes.length} side by side`;
  $("view-badge").textContent = stateOf(card);
  $("view-badge").className = `badge ${card.state}`;
  $("view-badge").hidden = !alone || card.state === "done";
  $("view-place").textContent = alone ? `${(shown.indexOf(card) + 1).toLocaleString("en")} of ${shown.length.toLocaleString("en")}` : "";
  $("view-prompt").textContent = card.prompt;
  $("view-why").textContent = card.why;
  $("view-means").textContent = `${card.means} ${card.advice}`.trim();
  $("view-note").textContent = words(card);
  $("view-facts").replaceChildren(...facts(card).flatMap(([name, value]) => [make("dt", name), make("dd", String(value))]));
  showFile(card);
  showCopies(card);
  for (const act of ["before", "after"]) $(`do-${act}`).disabled = alone && shown.length < 2;
  for (const act of ["pick", "reject", "note"]) $(`do-${act}`).hidden = !card.pictured;
  $("do-old").hidden = !alone || !card.older.length;
  $("do-compare").setAttribute("aria-pressed", !alone);
  showViewMarks();
};

// List the copies of the file, each as a link.
const showCopies = (card) => {
  $("view-copies").replaceChildren(...card.copies.map((copy) => {
    const item = make("li"), link = make("a", copy.name);
    Object.assign(link, { href: copy.link, target: "_blank", rel: "noreferrer" });
    link.toggleAttribute("download", !/\.(jpe?g|png|webp|avif|json)$/i.test(copy.name));  // anything else could run scripts
    item.append(link);
    return item;
  }));
};

const showFile = (card) => {
  const link = $("view-file");
  link.hidden = !card.link || DATA.shared === true;
  if (link.hidden) return;
  link.href = card.link;
  link.toggleAttribute("download", card.kind === "file");  // a drawing or page could run scripts
  link.textContent = card.cut ? `The whole file (${card.other})` : "Open the file";
};

const showViewMarks = () => {
  if (!view.open && !panes.length) return;
  for (const pane of stage.querySelectorAll(".pane")) {
    const card = cards[pane.dataset.card], { mark: verdict } = markOf(card);
    pane.classList.toggle("picked", verdict === "pick");
    pane.classList.toggle("rejected", verdict === "reject");
    pane.classList.toggle("current", card === current && panes.length > 1);
    pane.querySelector(".pick")?.setAttribute("aria-pressed", verdict === "pick");
    pane.querySelector(".reject")?.setAttribute("aria-pressed", verdict === "reject");
  }
  $("do-pick").setAttribute("aria-pressed", markOf(current).mark === "pick");
  $("do-reject").setAttribute("aria-pressed", markOf(current).mark === "reject");
  $("view-note").textContent = words(current);
};

// The moment from which the current picture is on the screen. A finger may tap right after a swipe, before the next
// picture is painted: what the person saw then is the one before.
let paintedAt = 0;
const awaitPaint = () => {
  const waiting = current;
  paintedAt = Infinity;
  Promise.allSettled(stageImages().map((image) => image.decode())).then(() =>
    requestAnimationFrame(() => requestAnimationFrame(() => { if (current === waiting) paintedAt = performance.now(); })));
};
const isTooEarly = (event) => view.open && event.pointerType === "touch" && event.timeStamp < paintedAt;

const openView = (list) => {
  const fresh = !view.open;
  panes = list;
  makeStage();
  showView();
  if (fresh) {
    view.showModal();
    history.pushState({ large: true }, "");
    $("view-title").focus();
  }
  awaitPaint();
  noteSeen(panes);
  makeReady();
};

// Load the pictures before and after the current one, so that they are there at once.
const makeReady = () => {
  const near = panes.length === 1 ? [1, -1, 2].map((step) => beside(step)) : [];
  ready = near.filter((card) => card !== current && card.kind === "picture" && card.link).map((card) => makeImage(card));
};

// Go to the card before or after; in a comparison, to the pane before or after.
const stepView = (step) => {
  if (panes.length > 1) {
    point(panes[(panes.indexOf(current) + step + panes.length) % panes.length], false);
    showView();
    awaitPaint();
    return;
  }
  const next = beside(step);
  if (next === current) return;
  point(next, false);
  openView([next]);
};

// Compare the chosen cards, else the current one with the others of its product, else with those that follow.
const compare = () => {
  if (view.open && panes.length > 1) { openView([current]); return; }
  const able = shown.filter((card) => card.pictured);
  let list = able.filter((card) => chosen.has(card));
  if (list.length < 2) list = able.filter((card) => card.group === current?.group);
  if (list.length < 2) list = able.slice(Math.max(able.indexOf(current), 0));
  if (list.length < 2) { say("There is nothing to compare with."); return; }
  const start = list.length > MOST_PANES ? Math.min(Math.max(list.indexOf(current), 0), list.length - MOST_PANES) : 0;
  list = list.slice(start, start + MOST_PANES);
  if (!list.includes(current)) point(list[0], false);
  resetZoom();
  openView(list);
};

// Show the picture before it was bought again, the one before that, and the present one again.
const showOld = () => {
  const [image] = stageImages();
  if (panes.length !== 1 || !image || !current.older.length) { say("This picture replaced none."); return; }
  oldShown = (oldShown + 1) % (current.older.length + 1);
  const old = current.older[oldShown - 1];
  image.src = old ? old.link : current.link || current.thumb;
  stage.classList.toggle("old", Boolean(old));
  $("do-old").setAttribute("aria-pressed", Boolean(old));
  $("view-title").textContent = old ? `${titleOf(current)}, before: purchase ${old.purchase}` : titleOf(current);
};

view.addEventListener("close", () => {
  stopPlayers(stage);
  stage.replaceChildren();
  stage.classList.remove("old");
  panes = [];
  resetZoom();
  if (history.state?.large) { leaving = true; history.back(); }
  point(current, true);
});
// Back closes the large view. Our own step back comes a moment later, when the view may be open again.
let leaving = false;
addEventListener("popstate", () => {
  if (!leaving && view.open) view.close();
  leaving = false;
});
if (history.state?.large) history.replaceState(null, "");
