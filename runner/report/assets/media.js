// What shows a file: a picture, a player, the beginning of a text, or a sheet with the kind of file.
const fallBack = (image, card) => {
  image.addEventListener("error", () => { if (card.thumb && image.src !== card.thumb) image.src = card.thumb; }, { once: true });
};

// Return an image of the file itself. The thumbnail stands in for a file that cannot be loaded or shown.
const makeImage = (card, address = card.link) => {
  const image = make("img");
  image.alt = describe(card);
  image.draggable = false;
  fallBack(image, card);
  image.src = address || card.thumb;
  return image;
};

const makePlayer = (card, preload) => {
  const player = make(card.kind);
  player.controls = true;
  player.preload = preload;
  player.setAttribute("aria-label", describe(card));
  player.addEventListener("error", () => {
    if (!player.hasAttribute("src")) return;
    player.replaceWith(make("p", `${card.label}: this browser cannot play it.`, "blank"));
  });
  player.src = card.link;
  return player;
};

const stopPlayers = (root) => {
  for (const player of root.querySelectorAll("audio, video")) {
    player.pause();
    player.removeAttribute("src");
    player.load();  // otherwise the file that was opened goes on loading
  }
};

// Play one file at a time.
document.addEventListener("play", (event) => {
  for (const player of document.querySelectorAll("audio, video")) if (player !== event.target) player.pause();
}, true);

// Return what the large view shows of a card.
const makeLarge = (card) => {
  if (!card.pictured) return make("p", "There is no picture.", "blank");
  if (card.kind === "picture") return makeImage(card);
  if (card.kind === "text") {
    const text = make("pre", card.text + (card.cut ? "\n…" : ""));
    text.dir = "auto";
    text.tabIndex = 0;
    return text;
  }
  return card.kind === "file" || !card.link ? make("span", card.label, "sheet") : makePlayer(card, "metadata");
};

// Return the small version for the grid, in place of a thumbnail where there is none.
const makeSmall = (card) => {
  if (!card.pictured) return make("span", stateOf(card), `none ${card.state}`);
  if (card.thumb) {
    const image = make("img");
    image.alt = describe(card);
    image.decoding = "async";
    image.draggable = false;
    image.src = card.thumb;
    return image;
  }
  if (card.kind === "text") {
    const text = make("span", card.text.slice(0, 600), "excerpt");
    text.dir = "auto";
    return text;
  }
  const glyph = { video: "⤢", audio: "♪", file: card.label }[card.kind];
  return make("span", glyph ?? "no preview", card.kind === "file" ? "sheet" : glyph ? "glyph" : "blank");
};
