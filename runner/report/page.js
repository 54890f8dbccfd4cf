// Behaviour of the page. Data of a batch is set as textContent, never as HTML.
"use strict";
(() => {
  const { cards, command } = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const items = cards.map((_, number) => $(`c${number}`));
  const openers = items.map((item) => item.querySelector(".open"));
  const haystacks = cards.map((card) =>
    [card.id, card.prompt, card.inputs, card.why, card.request, card.path, card.state, card.text].join("\n").toLowerCase());
  const filters = [...document.querySelectorAll(".bar select")].map((select) => select.id).filter((id) => id !== "order");
  const rejected = new Set();
  let shown = cards.map((_, number) => number);
  let current = 0;

  const make = (tag, text, className) => {
    const element = document.createElement(tag);
    if (text) element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  const describe = (card) => `${card.id}: ${card.prompt}`;

  // ---- search, filter, sort

  const ORDERS = {
    "": (a, b) => a - b,
    id: (a, b) => cards[a].id.localeCompare(cards[b].id, "en", { numeric: true }) || a - b,
    new: (a, b) => (cards[b].at > cards[a].at) - (cards[b].at < cards[a].at) || a - b,
    cost: (a, b) => cards[b].usd - cards[a].usd || a - b,
    slow: (a, b) => (cards[b].seconds ?? -1) - (cards[a].seconds ?? -1) || a - b,
    large: (a, b) => cards[b].pixels - cards[a].pixels || a - b,
  };

  const matches = (card, number, words, wanted) =>
    words.every((word) => haystacks[number].includes(word)) &&
    wanted.every(([name, value]) => !value || card[name] === value);

  let arranged = "";
  const arrange = () => {
    const words = $("q").value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = filters.map((name) => [name, $(name).value]);
    const fits = cards.map((card, number) => matches(card, number, words, wanted));
    items.forEach((item, number) => { item.hidden = !fits[number]; });
    const sorted = cards.map((_, number) => number).sort(ORDERS[$("order").value]);
    if (arranged !== $("order").value) {
      arranged = $("order").value;
      for (const list of document.querySelectorAll(".rows, .grid"))
        list.append(...sorted.map((number) => items[number]).filter((item) => item.parentElement === list));
    }
    const visible = sorted.filter((number) => fits[number]);
    shown = [...visible.filter((number) => !cards[number].pictured), ...visible.filter((number) => cards[number].pictured)];
    $("needs").hidden = !visible.some((number) => !cards[number].pictured);
    $("pictures").hidden = !visible.some((number) => cards[number].pictured);
    $("nothing").hidden = visible.length > 0;
    $("count").value = visible.length === cards.length ? `${cards.length.toLocaleString("en")} shown`
      : `${visible.length.toLocaleString("en")} of ${cards.length.toLocaleString("en")}`;
    if (!fits[current]) point(shown[0] ?? 0);
  };

  const showAll = () => {
    for (const name of ["q", ...filters]) $(name).value = "";
    arrange();
  };

  // ---- keyboard focus on one card

  const point = (number, focus = false) => {
    if (openers[current]) openers[current].tabIndex = -1;
    current = number;
    if (!openers[number]) return;
    openers[number].tabIndex = 0;
    if (focus) {
      openers[number].focus({ preventScroll: true });
      items[number].scrollIntoView({ block: "nearest" });
    }
  };

  const beside = (step) => {
    const place = shown.indexOf(current);
    return shown[Math.min(Math.max(place + step, 0), shown.length - 1)] ?? current;
  };

  // Return the card above or below: the one of the next line of cards that is nearest in x.
  const line = (step) => {
    const here = items[current].getBoundingClientRect();
    let place = shown.indexOf(current) + step;
    while (place in shown && Math.abs(items[shown[place]].getBoundingClientRect().top - here.top) < 2) place += step;
    if (!(place in shown)) return current;
    const top = items[shown[place]].getBoundingClientRect().top;
    let best = shown[place], distance = Infinity;
    for (; place in shown; place += step) {
      const box = items[shown[place]].getBoundingClientRect();
      if (Math.abs(box.top - top) >= 2) break;
      if (Math.abs(box.left - here.left) < distance) [best, distance] = [shown[place], Math.abs(box.left - here.left)];
    }
    return best;
  };

  // ---- large view

  const facts = (card) => [
    ["Model", card.model], ["Size", card.size], ["Kind", card.other], ["Other inputs", card.inputs], ["Cost", card.cost],
    ["Took", card.seconds == null ? "" : `${card.seconds.toFixed(1)} s`], ["Time", card.at],
    ["Request", card.request], ["File", card.path], ["Note", card.warning],
  ].filter(([, value]) => value);

  const family = (card) => cards.map((_, number) => number)
    .filter((number) => cards[number].family === card.family && cards[number].pictured);

  const thumbnail = (number) => items[number].querySelector("img")?.getAttribute("src");

  // Show the file itself, or the thumbnail if the file cannot be loaded or shown.
  const fill = (image, number) => {
    image.alt = describe(cards[number]);
    image.onerror = () => { image.onerror = null; if (thumbnail(number)) image.src = thumbnail(number); };
    image.src = cards[number].link;
  };

  const PLACES = { picture: "link", video: "video", audio: "audio", text: "text", file: "sheet" };

  const showMedia = (card, number) => {
    stopMedia();
    for (const [kind, place] of Object.entries(PLACES)) $(`view-${place}`).hidden = card.kind !== kind;
    $("view-none").hidden = card.pictured;
    $("view-unplayed").hidden = true;
    $("view-image").removeAttribute("src");
    $("view-text").textContent = card.text + (card.cut ? "\n…" : "");
    $("view-sheet").textContent = card.label;
    if (card.kind === "picture") { $("view-link").href = card.link; fill($("view-image"), number); }
    if (card.kind === "video" || card.kind === "audio") play($(`view-${card.kind}`), card);
    const more = $("view-more");
    more.hidden = !card.pictured || card.kind === "picture";
    if (!more.hidden) {
      more.firstChild.href = card.link;
      more.firstChild.toggleAttribute("download", card.kind === "file");  // a drawing or page could run scripts
      more.firstChild.textContent = card.cut ? `The whole file (${card.other})` : "Open the file";
    }
  };

  // ---- players

  const play = (player, card) => {
    player.setAttribute("aria-label", describe(card));
    player.src = card.link;
  };

  const stopMedia = () => {
    for (const player of [$("view-video"), $("view-audio")]) {
      if (!player.hasAttribute("src")) continue;
      player.pause();
      player.removeAttribute("src");
      player.load();  // otherwise the file that was opened goes on loading
    }
  };

  // Load the metadata (the duration) of visible players only: thousands of open players are too many for a browser.
  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) target.preload = "metadata";
      else if (target.preload !== "none" && target.paused && !target.currentTime) {
        target.preload = "none";
        target.load();
      }
    }
  });
  for (const player of document.querySelectorAll(".tile :is(audio, video)")) {
    near.observe(player);
    player.addEventListener("error", () => {
      player.hidden = true;
      player.nextElementSibling.hidden = false;
    });
  }
  for (const player of [$("view-video"), $("view-audio")])
    player.addEventListener("error", () => {
      if (!player.hasAttribute("src")) return;
      player.hidden = true;
      $("view-unplayed").hidden = false;
    });
  // Play one file at a time.
  document.addEventListener("play", (event) => {
    for (const player of document.querySelectorAll("audio, video")) if (player !== event.target) player.pause();
  }, true);

  const view = (number) => {
    point(number);
    const card = cards[number];
    showMedia(card, number);
    $("view-badge").textContent = card.state;
    $("view-badge").className = `badge ${card.state}`;
    $("view-place").textContent = `${shown.indexOf(number) + 1} of ${shown.length.toLocaleString("en")}`;
    $("view-title").textContent = card.id + (card.number ? ` (${card.number})` : "");
    $("view-prompt").textContent = card.prompt;
    $("view-why").textContent = card.why;
    $("view-means").textContent = `${card.means} ${card.advice}`.trim();
    $("view-facts").replaceChildren(...facts(card).flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
    const variants = family(card).length;
    $("view-set").hidden = variants < 2;
    $("view-set").textContent = `Side by side (${variants})`;
    $("view-reject").hidden = !card.pictured;
    markButtons();
    if (!$("view").open) $("view").showModal();
    $("view-title").focus();
  };

  // ---- variants side by side

  const showSet = (number) => {
    const variants = family(cards[number]);
    if (variants.length < 2) return;
    $("set-title").textContent = `${variants.length} variants`;
    $("set-pictures").replaceChildren(...variants.map(variant));
    markButtons();
    if ($("view").open) $("view").close();
    $("set").showModal();
  };

  const variant = (number) => {
    const card = cards[number];
    const figure = make("figure");
    figure.append(sample(card, number));
    const caption = make("figcaption");
    const name = make("a", card.id + (card.number ? ` (${card.number})` : ""));
    name.href = card.link;
    const reject = make("button", "Reject", "reject");
    reject.type = "button";
    reject.dataset.number = number;
    reject.onclick = () => toggle(number);
    caption.append(name, make("span", [card.size, card.cost].filter(Boolean).join(" · ")), reject);
    figure.append(caption);
    return figure;
  };

  const sample = (card, number) => {
    if (card.kind === "text") return make("pre", card.text + (card.cut ? "\n…" : ""));
    if (card.kind === "file") return make("span", card.label, "sheet");
    const shown = make(card.kind === "picture" ? "img" : card.kind);
    if (card.kind === "picture") fill(shown, number);
    else { shown.controls = true; shown.preload = "metadata"; play(shown, card); }
    return shown;
  };

  // ---- rejected pictures, and the command that buys them anew

  // Quote a text for the shell; escape an id so that --only matches it literally.
  const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);
  const pattern = (id) => id.replace(/[*?[]/g, "[$&]");

  const toggle = (number) => {
    const card = cards[number];
    if (!card.pictured) return;
    if (!rejected.delete(card.id)) rejected.add(card.id);
    showRejected();
  };

  const markButtons = () => {
    const press = (button, number) => {
      const pressed = rejected.has(cards[number].id);
      button.setAttribute("aria-pressed", pressed);
      button.textContent = pressed ? "Rejected" : "Reject";
    };
    press($("view-reject"), current);
    for (const button of $("set-pictures").querySelectorAll(".reject")) press(button, Number(button.dataset.number));
  };

  const showRejected = () => {
    cards.forEach((card, number) => items[number].classList.toggle("rejected", rejected.has(card.id)));
    const lines = [...rejected].map((id) => `${command} --redo --only ${quote(pattern(id))}`);
    $("redo").hidden = lines.length === 0;
    $("redo-count").textContent = `${lines.length.toLocaleString("en")} rejected`;
    $("redo-line").value = lines.join("\n");
    $("redo-line").rows = Math.min(Math.max(lines.length, 1), 4);
    $("copy").textContent = "Copy";
    remember();
    if (cards.length) markButtons();
  };

  // The address holds the rejected ids, so that a reload and a bookmark keep them. Nothing else is stored.
  const remember = () => {
    const words = [...rejected].map(encodeURIComponent).join(",");
    history.replaceState(null, "", words ? `#rejected=${words}` : location.href.split("#")[0]);
  };

  const recall = () => {
    const known = new Set(cards.filter((card) => card.pictured).map((card) => card.id));
    const words = location.hash.startsWith("#rejected=") ? location.hash.slice(10).split(",") : [];
    for (const word of words) {
      try {
        if (known.has(decodeURIComponent(word))) rejected.add(decodeURIComponent(word));
      } catch { /* the address was cut short */ }
    }
    if (rejected.size) showRejected();
  };

  const copy = async () => {
    const line = $("redo-line");
    try {
      await navigator.clipboard.writeText(line.value);
    } catch {
      line.select();
      document.execCommand("copy");
    }
    $("copy").textContent = "Copied";
  };

  // ---- keys and clicks

  const MOVES = {
    ArrowLeft: () => beside(-1), h: () => beside(-1), ArrowRight: () => beside(1), l: () => beside(1),
    ArrowUp: () => line(-1), k: () => line(-1), ArrowDown: () => line(1), j: () => line(1),
  };
  const STEPS = { ArrowLeft: -1, ArrowUp: -1, h: -1, k: -1, ArrowRight: 1, ArrowDown: 1, l: 1, j: 1 };

  const inView = (key) => {
    if (key in STEPS) view(beside(STEPS[key]));
    else if (key === "x") toggle(current);
    else if (key === "v") showSet(current);
    else return false;
    return true;
  };

  const inPage = (key) => {
    if (key === "/") $("q").focus();
    else if (key === "?") $("help").showModal();
    else if (!cards.length) return false;
    else if (key in MOVES) point(document.activeElement === openers[current] ? MOVES[key]() : current, true);
    else if (key === "x") toggle(current);
    else if (key === "v") showSet(current);
    else return false;
    return true;
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === $("q") && event.key === "Escape") point(shown[0] ?? 0, true);
    if (event.target.matches("input, select, textarea, video, audio")) return;
    const used = $("view").open ? inView(event.key) : $("set").open || $("help").open ? false : inPage(event.key);
    if (used) event.preventDefault();
  });

  openers.forEach((opener, number) => {
    opener.tabIndex = number ? -1 : 0;
    opener.addEventListener("click", () => view(number));
  });
  for (const name of [...filters, "order"]) $(name).addEventListener("change", arrange);
  $("q").addEventListener("input", arrange);
  $("clear").addEventListener("click", showAll);
  $("view-before").addEventListener("click", () => view(beside(-1)));
  $("view-after").addEventListener("click", () => view(beside(1)));
  $("view-reject").addEventListener("click", () => toggle(current));
  $("view-set").addEventListener("click", () => showSet(current));
  $("keys").addEventListener("click", () => $("help").showModal());
  for (const name of ["view", "set", "help"]) {
    $(`${name}-close`).addEventListener("click", () => $(name).close());
    $(name).addEventListener("click", (event) => { if (event.target === $(name)) $(name).close(); });
  }
  for (const name of ["view", "set"])
    $(name).addEventListener("close", () => { if (!$("view").open && !$("set").open) point(current, true); });
  $("view").addEventListener("close", stopMedia);
  $("set").addEventListener("close", () => $("set-pictures").replaceChildren());
  $("copy").addEventListener("click", copy);
  $("forget").addEventListener("click", () => { rejected.clear(); showRejected(); });

  const THEMES = ["auto", "dark", "light"];
  $("theme").addEventListener("click", () => {
    const now = document.documentElement.dataset.theme ?? "auto";
    const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
    document.documentElement.dataset.theme = next;
    $("theme").textContent = `Theme: ${next}`;
  });
  addEventListener("beforeprint", () => {
    for (const image of document.querySelectorAll("img[loading]")) image.loading = "eager";
  });

  arrange();
  recall();
})();
