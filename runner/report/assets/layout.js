// Layout of the grid: products side by side, as many as fit into a line. Only numbers; no element is touched.
const GAP = 14, PRODUCT_GAP = 30, HEAD = 27, CAPTION = 24, BELOW = 20;

// Return the lines of ``shown`` and the place of each card by its index. A line has its top, its height and its parts;
// a part is a product or a piece of one: its cards, and whether its heading stands above.
const layOut = (shown, width, size, grouped) => {
  const most = Math.max(1, Math.floor((width + GAP) / (size + GAP)));
  const lines = [], places = new Map();
  let line = null, x = 0;
  const begin = (headed) => {
    const top = line ? line.top + line.height : 0;
    line = { top, height: (headed ? HEAD : 0) + size + CAPTION + BELOW, headed, parts: [] };
    lines.push(line);
    x = 0;
  };
  const add = (list, group, headed) => {
    list.forEach((card, number) => places.set(card.index, { line: lines.length - 1, x: x + number * (size + GAP) }));
    line.parts.push({ cards: list, group, headed });
    x += list.length * (size + GAP) - GAP + PRODUCT_GAP;
  };
  for (const list of grouped ? runs(shown) : [shown]) {
    const group = grouped ? list[0].group : -1;
    if (!line || !grouped || x + list.length * (size + GAP) - GAP > width) begin(grouped);
    for (let start = 0; start < list.length; start += most) {
      if (start) begin(false);
      add(list.slice(start, start + most), group, grouped && !start);
    }
    if (list.length > most) x = width;  // the next product needs a heading, which this line has no room for
  }
  return { lines, places, height: line ? line.top + line.height : 0 };
};

// Return the size near ``wanted`` at which whole products, or columns, fill the width.
const fittingSize = (shown, width, wanted, grouped) => {
  const counts = grouped ? runs(shown).map((list) => list.length).sort((a, b) => a - b) : [];
  const usual = counts[counts.length >> 1] ?? 1, gap = usual > 1 || !grouped ? GAP : PRODUCT_GAP;
  const least = wanted * 0.88;
  const products = Math.floor((width + PRODUCT_GAP) / (usual * (least + GAP) - GAP + PRODUCT_GAP));
  const size = grouped && usual > 1 && products > 0
    ? ((width + PRODUCT_GAP) / products - PRODUCT_GAP + GAP) / usual - GAP
    : (width + gap) / Math.max(1, Math.floor((width + gap) / (least + gap))) - gap;
  return Math.floor(Math.min(size, wanted * 1.2, width));
};

// Return the cards in lists of neighbours of one product.
const runs = (shown) => {
  const found = [];
  for (const card of shown) {
    if (found.length && found.at(-1)[0].group === card.group) found.at(-1).push(card);
    else found.push([card]);
  }
  return found;
};

// Return the first line whose lower edge is below ``y``.
const lineAt = (lines, y) => {
  let low = 0, high = lines.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lines[middle].top + lines[middle].height <= y) low = middle + 1; else high = middle;
  }
  return low;
};

// Return the card of the next line up or down that is nearest in x; the card itself at the end.
const besideLine = ({ lines, places }, card, step) => {
  const { line, x } = places.get(card.index);
  const next = lines[line + step];
  if (!next) return card;
  const distance = (other) => Math.abs(places.get(other.index).x - x);
  return next.parts.flatMap((part) => part.cards).reduce((best, one) => (distance(one) < distance(best) ? one : best));
};
