// The grid: only lines near the screen are in the document. One card is the current one; the keys act on it.
const grid = $("grid");
const AROUND = 140;
let shown = [];
let layout = { lines: [], places: new Map(), height: 0 };
let current = null;
let chosen = new Set();
const drawn = new Map();
const tiles = new Map();
const spare = new Map();

const makeTile = (card) => {
  const tile = spare.get(card.index) ?? newTile(card);
  tiles.set(card.index, tile);
  showMark(card);
  return tile;
};

const newTile = (card) => {
  const tile = make("div", "", `tile ${card.kind || "none"}`);
  const open = make("button", "", "open");
  open.type = "button";
  open.tabIndex = card === current ? 0 : -1;
  open.dataset.card = card.index;
  open.append(makeSmall(card));
  const mat = make("div", "", "mat");
  mat.append(open);
  if ((card.kind === "video" || card.kind === "audio") && card.link) mat.append(makePlayer(card, "metadata"));
  tile.append(mat, make("p", captionOf(card), "caption"));
  tile.title = titleOf(card);
  return tile;
};

const makePart = ({ cards: list, group, headed }) => {
  const part = make("section", "", "product");
  if (headed) {
    const head = make("h2", groups[group].title);
    head.title = [groups[group].title, groups[group].about].filter(Boolean).join(": ");
    if (groups[group].about) head.append(" ", make("small", groups[group].about));
    part.append(head);
  }
  const row = make("div", "", "tiles");
  row.append(...list.map(makeTile));
  part.append(row);
  return part;
};

const makeLine = (line) => {
  const element = make("div", "", line.headed ? "line" : "line bare");
  element.style.top = `${line.top}px`;
  element.append(...line.parts.map(makePart));
  return element;
};

const removeLine = (number) => {
  stopPlayers(drawn.get(number));
  drawn.get(number).remove();
  drawn.delete(number);
  for (const part of layout.lines[number].parts) for (const card of part.cards) tiles.delete(card.index);
};

// Draw the lines from ``top`` to ``bottom`` of the grid, and the line of the current card, which keeps the focus.
const drawBetween = (top, bottom) => {
  const wanted = new Set();
  for (let number = lineAt(layout.lines, top); number < layout.lines.length; number++) {
    if (layout.lines[number].top >= bottom) break;
    wanted.add(number);
  }
  const own = current && layout.places.get(current.index)?.line;
  if (own !== undefined && own !== null) wanted.add(own);
  for (const number of [...drawn.keys()]) if (!wanted.has(number)) removeLine(number);
  for (const number of [...wanted].sort((a, b) => a - b)) {
    if (drawn.has(number)) continue;
    drawn.set(number, makeLine(layout.lines[number]));
    const after = [...drawn.keys()].filter((other) => other > number).sort((a, b) => a - b)[0];
    grid.insertBefore(drawn.get(number), drawn.get(after) ?? null);
  }
};

const draw = () => {
  const top = -grid.getBoundingClientRect().top;
  drawBetween(top - AROUND, top + innerHeight + AROUND);
  clearTimeout(draw.rest);
  draw.rest = setTimeout(() => { if (!$("view").open) noteSeen(visibleCards()); }, 400);
};

// Lay out what is shown. Pictures that stay on the screen are not loaded again.
const layAgain = () => {
  for (const [index, tile] of tiles) if (cards[index].kind === "picture") spare.set(index, tile);
  for (const number of [...drawn.keys()]) removeLine(number);
  const size = fittingSize(shown, grid.clientWidth, Number($("scale").value), !$("order").value);
  document.documentElement.style.setProperty("--tile", `${size}px`);
  layout = layOut(shown, grid.clientWidth, size, !$("order").value);
  grid.style.height = `${layout.height}px`;
  draw();
  spare.clear();
};

// ---- the current card

// Return the part of the screen between the bar and the footer.
const room = () => [$("bar").getBoundingClientRect().bottom, $("foot").getBoundingClientRect().top];

const isVisible = (card) => {
  const box = card && tiles.get(card.index)?.querySelector(".mat").getBoundingClientRect();
  if (!box) return false;
  const [top, bottom] = room(), middle = (box.top + box.bottom) / 2;
  return middle > Math.max(top, 0) && middle < bottom;
};
const visibleCards = () => shown.filter((card) => tiles.has(card.index) && isVisible(card));

// Make a card the current one. ``reveal`` scrolls it onto the screen and gives it the focus.
const point = (card, reveal = true) => {
  const last = current;
  current = card ?? null;
  for (const one of [last, current]) if (one) showMark(one);
  showCurrent();
  if (!current || !reveal || !layout.places.has(current.index)) return;
  const line = layout.lines[layout.places.get(current.index).line];
  const [top, bottom] = room(), begin = line.top + grid.getBoundingClientRect().top;
  if (begin < top + 6) scrollBy(0, begin - top - 6);
  else if (begin + line.height > bottom) scrollBy(0, Math.min(begin + line.height - bottom, begin - top - 6));
  draw();
  tiles.get(current.index)?.querySelector(".open").focus({ preventScroll: true });
};

const beside = (step, from = current) => {
  const place = shown.indexOf(from);
  return place < 0 ? shown[0] : shown[Math.min(Math.max(place + step, 0), shown.length - 1)];
};

// Show the mark of a card in the grid, if it is drawn.
const showMark = (card) => {
  const tile = tiles.get(card.index);
  if (!tile) return;
  const { mark, note } = markOf(card), open = tile.querySelector(".open");
  tile.classList.toggle("picked", mark === "pick");
  tile.classList.toggle("rejected", mark === "reject");
  tile.classList.toggle("noted", Boolean(note));
  tile.classList.toggle("chosen", chosen.has(card));
  tile.classList.toggle("disputed", disputed.has(keyOf(card)));
  tile.classList.toggle("current", card === current);
  open.tabIndex = card === current ? 0 : -1;
  open.toggleAttribute("aria-current", card === current);
  const state = card.state === "done" ? "" : stateOf(card);
  open.setAttribute("aria-label", [card.kind && card.kind !== "picture" ? card.kind : "", titleOf(card),
    card.prompt ? describe(card).slice(card.id.length + 2) : "", state, words(card)].filter(Boolean).join(", "));
};

// Find the cards again, and lay them out. The current card stays if it is still there.
const arrange = () => {
  shown = find();
  $("count").value = shown.length === cards.length ? cards.length.toLocaleString("en")
    : `${shown.length.toLocaleString("en")} of ${cards.length.toLocaleString("en")}`;
  $("nothing").hidden = shown.length > 0 || cards.length === 0;
  if (!shown.includes(current)) current = shown[0] ?? null;
  layAgain();
  showCurrent();
};

const fromTop = () => {
  const top = grid.getBoundingClientRect().top - $("bar").getBoundingClientRect().bottom;
  if (top < 0) scrollBy(0, top - 8);
};
