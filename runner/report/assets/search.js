// Search with fields, filters, and order. A search is a list of terms; a card is shown if all of them match.
const haystacks = cards.map((card) => [
  card.id, groups[card.group].title, card.prompt, card.inputs, card.why, card.request, card.path, card.state, card.text,
  ...Object.values(card.keys),
].join("\n").toLowerCase());

const IS = {
  picked: (card) => markOf(card).mark === "pick",
  rejected: (card) => markOf(card).mark === "reject",
  marked: (card) => Boolean(markOf(card).mark),
  unmarked: (card) => card.pictured && !markOf(card).mark,
  noted: (card) => Boolean(markOf(card).note),
  seen: (card) => isSeen(card),
  unseen: (card) => card.pictured && !isSeen(card),
  replaced: (card) => card.older.length > 0,
  disputed: (card) => disputed.has(keyOf(card)),
};

const holds = (text, word) => text.toLowerCase().includes(word);
const plainSize = (text) => text.toLowerCase().replaceAll("×", "x");

const FIELDS = {
  is: (card, word) => (IS[word] ? IS[word](card) : card.state === word || card.kind === word),
  id: (card, word) => holds(card.id, word),
  sku: (card, word) => holds(groups[card.group].title, word) || holds(card.id, word),
  product: (card, word) => holds(groups[card.group].title, word),
  prompt: (card, word) => holds(card.prompt, word),
  model: (card, word) => holds(card.model, word),
  size: (card, word) => plainSize(card.size).includes(plainSize(word)),
  state: (card, word) => card.state === word,
  file: (card, word) => holds(card.path, word),
  error: (card, word) => holds(card.why, word),
  note: (card, word) => holds(markOf(card).note ?? "", word),
  reason: (card, word) => holds(markOf(card).reason ?? "", word),
  cause: (card, word) => String(card.cause) === word,
};

const keyNames = [...new Set(cards.flatMap((card) => Object.keys(card.keys)))];
const keyFields = new Map(keyNames.map((name) => [
  name.toLowerCase(), (card, word) => (card.keys[name] ?? "").toLowerCase() === word,
]));
const fieldNamed = (name) => keyFields.get(name) ?? (Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined);

// Return the terms of a search as functions of a card: words, "whole phrases", field:value, and -term for the opposite.
const readSearch = (text) => {
  const found = [];
  for (const [term] of text.toLowerCase().matchAll(/-?(?:[\p{L}\w]+:)?(?:"[^"]*"?|[^\s"]+)/gu)) {
    const not = term.length > 1 && term.startsWith("-");
    const bare = not ? term.slice(1) : term;
    const [, name, value] = /^([\p{L}\w]+):(.+)$/u.exec(bare) ?? [];
    const field = name ? fieldNamed(name) : undefined;
    const word = (field ? value : bare).replaceAll('"', "");
    const test = field ? (card) => field(card, word) : (card) => haystacks[card.index].includes(word);
    found.push(not ? (card) => !test(card) : test);
  }
  return found;
};

const FILTERS = {
  kind: (card, value) => card.kind === value,
  state: (card, value) => card.state === value,
  size: (card, value) => card.size === value,
  model: (card, value) => card.model === value,
  mark: (card, value) => IS[value](card),
};

// Return the filters in use, as functions of a card.
const readFilters = () => [...document.querySelectorAll("#filters select[data-filter]")]
  .filter((select) => select.value)
  .map((select) => {
    const { filter, key } = select.dataset;
    return filter === "key" ? (card) => card.keys[key] === select.value : (card) => FILTERS[filter](card, select.value);
  });

const newer = (a, b) => (b.at > a.at) - (b.at < a.at);
const ORDERS = {
  id: (a, b) => a.id.localeCompare(b.id, "en", { numeric: true }) || a.index - b.index,
  new: (a, b) => newer(a, b) || a.index - b.index,
  cost: (a, b) => b.usd - a.usd || a.index - b.index,
  slow: (a, b) => (b.seconds ?? -1) - (a.seconds ?? -1) || a.index - b.index,
  large: (a, b) => b.pixels - a.pixels || a.index - b.index,
};

// Return the cards to show, in their order. Without an order of their own they stay in that of the manifest.
const find = () => {
  const terms = [...readSearch($("q").value), ...readFilters()];
  const found = cards.filter((card) => terms.every((term) => term(card)));
  const order = ORDERS[$("order").value];
  return order ? found.sort(order) : found;
};
