// The beginning: what is shown, and what happens on clicks, choices, drops and changes of the window.
const showMarks = (changed) => {
  for (const card of changed) showMark(card);
  showCounts();
  showViewMarks();
};

const showCounts = () => {
  const picked = withMark("pick").length, rejected = withMark("reject").length;
  const unseen = cards.filter((card) => card.pictured && !isSeen(card)).length;
  $("picked").textContent = picked.toLocaleString("en");
  $("rejected").textContent = rejected.toLocaleString("en");
  $("unseen").textContent = unseen.toLocaleString("en");
  $("foot").classList.toggle("marked", picked + rejected > 0);
  $("theirs").hidden = disputed.size === 0;
};

const showCurrent = () => { $("here").textContent = current ? titleOf(current) : ""; };

const filterChanged = () => {
  const used = [...document.querySelectorAll("#filters select")].filter((select) => select.value).length;
  $("filter").textContent = used ? `Filter (${used})` : "Filter";
  arrange();
  fromTop();
};

const showAll = () => {
  for (const field of document.querySelectorAll("#q, #filters select")) field.value = "";
  filterChanged();
};

$("q").addEventListener("input", () => { arrange(); fromTop(); });
for (const select of document.querySelectorAll("#filters select")) select.addEventListener("change", filterChanged);
$("clear").addEventListener("click", showAll);
$("filter").addEventListener("click", () => {
  const open = $("filters").classList.toggle("open");
  $("filter").setAttribute("aria-expanded", open);
});

// ---- clicks on the grid: the first makes a picture the current one, the second opens it; a finger opens at once

let wasCurrent = false;
grid.addEventListener("pointerdown", (event) => {
  const open = event.target.closest(".open");
  wasCurrent = Boolean(open) && cards[open.dataset.card] === current && event.button === 0;
});
grid.addEventListener("click", (event) => {
  const open = event.target.closest(".open");
  if (!open) return;
  const card = cards[open.dataset.card];
  if (event.shiftKey || event.ctrlKey || event.metaKey) { point(card, false); choose(); return; }
  if (wasCurrent || event.detail === 0 || event.pointerType === "touch") { point(card, false); large(); } else point(card);
});
grid.addEventListener("focusin", (event) => {
  const open = event.target.closest(".open");
  if (open && cards[open.dataset.card] !== current) point(cards[open.dataset.card], false);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button && /^(pick|reject)$/.test(button.dataset.act) && isTooEarly(event)) say("Not marked: the next picture was not on the screen yet.");
  else if (button) ACTS[button.dataset.act]();
  const cause = event.target.closest("[data-cause]");
  if (cause) { $("q").value = `cause:${cause.dataset.cause}`; arrange(); grid.scrollIntoView({ block: "start" }); scrollBy(0, -80); }
  const copied = event.target.closest("[data-copy]");
  if (copied) copyText($(copied.dataset.copy), copied);
  const closing = event.target.closest("[data-close]");
  if (closing) closing.closest("dialog").close();
});
for (const dialog of document.querySelectorAll("dialog"))
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
$("note-keep").addEventListener("click", keepNote);
for (const button of document.querySelectorAll("[data-reason]"))
  button.addEventListener("click", () => { keepNote(); mark("reject", current, REASONS[button.dataset.reason]); });
$("note-text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); keepNote(); }
});

// ---- a selection by button or drop

$("file").addEventListener("change", async () => {
  for (const file of $("file").files) await openSelection(file);
  $("file").value = "";
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", async (event) => {
  event.preventDefault();
  for (const file of event.dataTransfer.files) await openSelection(file);
});

// ---- settings of the page, figures, the window

const recall = (name) => { try { return localStorage.getItem(`runner.page.${name}`); } catch { return null; } };
const remember = (name, value) => { try { localStorage.setItem(`runner.page.${name}`, value); } catch { /* as it is */ } };

const THEMES = ["auto", "dark", "light"];
const showTheme = (theme) => {
  document.documentElement.dataset.theme = theme;
  $("theme").textContent = `Theme: ${theme}`;
};
showTheme(THEMES.includes(recall("theme")) ? recall("theme") : "auto");
$("theme").addEventListener("click", () => {
  showTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]);
  remember("theme", document.documentElement.dataset.theme);
});
if (recall("size")) $("scale").value = recall("size");
$("scale").addEventListener("input", () => {
  layAgain();
  if (current) point(current, false);
  remember("size", $("scale").value);
});

$("figures")?.addEventListener("toggle", () => {
  const { content } = $("drawings");
  if ($("figures").open && content.childElementCount) $("plots").append(content);
});

if (innerWidth < 760 && $("needs")) $("needs").open = false;
for (const section of [$("needs"), $("figures")]) section?.addEventListener("toggle", draw);

let framed = false;
const drawSoon = () => {
  if (framed) return;
  framed = true;
  requestAnimationFrame(() => { framed = false; draw(); });
};
addEventListener("scroll", drawSoon, { passive: true });
let lastWidth = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === lastWidth) drawSoon(); else layAgain();
  lastWidth = innerWidth;
  applyZoom();
});
addEventListener("beforeprint", () => drawBetween(0, Infinity));
addEventListener("afterprint", draw);

arrange();
showCounts();
