// Data of the page, and the texts made of a card. Data of a batch is set as textContent, never as HTML.
const DATA = JSON.parse(document.getElementById("data").textContent);

const NO_FIELDS = {
  id: "", part: "", state: "done", kind: "", label: "", other: "", text: "", cut: false, prompt: "", inputs: "",
  model: 0, size: "", pixels: 0, usd: 0, cost: "", seconds: null, at: "", path: "", link: "", thumb: "", sha256: "",
  request: "", why: "", means: "", advice: "", warning: "", group: 0, cause: null, keys: {}, older: [], copies: [],
};

const cards = DATA.cards.map((card, index) => {
  const whole = { ...NO_FIELDS, ...card, index };
  whole.model = DATA.models[whole.model] ?? "";
  whole.pictured = whole.kind !== "";
  if (DATA.shared) whole.thumb = whole.link;  // the proof is both
  return whole;
});
const groups = DATA.groups;

const stateOf = (card) => DATA.stateNames[card.state] ?? card.state;
const titleOf = (card) => card.id + (card.part ? ` (${card.part})` : "");

// Return what tells a card from the others of its product: the id without the name that stands above.
const captionOf = (card) => {
  const { title } = groups[card.group];
  const rest = card.id.startsWith(title) ? card.id.slice(title.length).replace(/^[-_. ]+/, "") : card.id;
  return (rest || card.size || card.id) + (card.part ? ` (${card.part})` : "");
};

const MOST_SPOKEN = 160;

// Return the id and the prompt, short enough to be read out.
const describe = (card) => {
  const words = card.prompt.trim().replace(/\s+/g, " ");
  return `${card.id}: ${words.length <= MOST_SPOKEN ? words : `${words.slice(0, MOST_SPOKEN - 1)}…`}`;
};

const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

// ---- elements

const $ = (id) => document.getElementById(id);

const make = (tag, text = "", className = "") => {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  if (className) element.className = className;
  return element;
};

const makeButton = (text, className, act) => {
  const button = make("button", text, className);
  button.type = "button";
  button.addEventListener("click", act);
  return button;
};

// Show a message at the lower edge for a few seconds; screen readers read it out.
let quiet = 0;
const say = (text) => {
  clearTimeout(quiet);
  const place = document.querySelector("dialog[open] .said") ?? $("said");
  for (const other of document.querySelectorAll(".said")) if (other !== place) other.textContent = "";
  place.textContent = text;
  quiet = setTimeout(() => { place.textContent = ""; }, 6000);
};
