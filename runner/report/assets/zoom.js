// Zoom and pan of the pictures on the stage, in step with one another, by keys, wheel, mouse and fingers.
const stage = $("stage");
const MOST_ZOOM = 12;
const zoom = { scale: 1, x: 0.5, y: 0.5 };
const isZoomed = () => zoom.scale > 1.001;
const stageImages = () => [...stage.querySelectorAll(".pane img")];

// Return how much a picture is reduced to fit its pane.
const fitOf = (image) => Math.min(1, image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight) || 1;

// Return the scale at which a pixel of the picture is a pixel of the screen; twice the size if it is shown so already.
const fullScale = (image) => {
  const scale = 1 / (fitOf(image) * devicePixelRatio);
  return scale < 1.05 ? 2 : Math.min(scale, MOST_ZOOM);
};

const applyZoom = () => {
  const images = stageImages();
  const [first] = images;
  if (first?.naturalWidth) {
    zoom.x = within(zoom.x, first.clientWidth, first.naturalWidth * fitOf(first) * zoom.scale);
    zoom.y = within(zoom.y, first.clientHeight, first.naturalHeight * fitOf(first) * zoom.scale);
  }
  for (const image of images) {
    const width = image.naturalWidth * fitOf(image) * zoom.scale, height = image.naturalHeight * fitOf(image) * zoom.scale;
    image.style.transform = isZoomed()
      ? `translate(${(0.5 - zoom.x) * width}px, ${(0.5 - zoom.y) * height}px) scale(${zoom.scale})` : "";
  }
  stage.classList.toggle("zoomed", isZoomed());
  $("do-zoom").setAttribute("aria-pressed", isZoomed());
};

// Return a centre at which the picture still fills its pane, or the middle if it is smaller than the pane.
const within = (centre, room, length) => {
  const half = length > room ? room / length / 2 : 0.5;
  return Math.min(Math.max(centre, half), 1 - half);
};

const zoomTo = (scale, image, x, y) => {
  const next = Math.min(Math.max(scale, 1), MOST_ZOOM);
  if (image?.naturalWidth && x !== undefined) {
    const box = image.parentElement.getBoundingClientRect(), fit = fitOf(image);
    const dx = x - box.left - image.offsetLeft - image.clientWidth / 2;
    const dy = y - box.top - image.offsetTop - image.clientHeight / 2;
    zoom.x += dx / (image.naturalWidth * fit) * (1 / zoom.scale - 1 / next);
    zoom.y += dy / (image.naturalHeight * fit) * (1 / zoom.scale - 1 / next);
  }
  zoom.scale = next;
  applyZoom();
};

const toggleZoom = (image = stageImages()[0], x, y) => {
  if (!image) return;
  if (isZoomed()) resetZoom(); else zoomTo(fullScale(image), image, x, y);
};

const resetZoom = () => {
  Object.assign(zoom, { scale: 1, x: 0.5, y: 0.5 });
  applyZoom();
};

// Move the pictures by so many pixels of the screen.
const pan = (dx, dy) => {
  const [image] = stageImages();
  if (!image?.naturalWidth) return;
  zoom.x -= dx / (image.naturalWidth * fitOf(image) * zoom.scale);
  zoom.y -= dy / (image.naturalHeight * fitOf(image) * zoom.scale);
  applyZoom();
};

// ---- mouse and fingers

const fingers = new Map();
let swipe = null;
const paneImage = (event) => event.target.closest?.(".pane")?.querySelector("img");
const spread = () => {
  const [a, b] = [...fingers.values()];
  return { length: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
};

stage.addEventListener("pointerdown", (event) => {
  if (!paneImage(event) || event.target.closest("button, a")) return;
  fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  stage.setPointerCapture(event.pointerId);
  swipe = fingers.size === 1 && event.pointerType === "touch" && !isZoomed() ? { x: event.clientX, y: event.clientY } : null;
});
stage.addEventListener("pointermove", (event) => {
  const last = fingers.get(event.pointerId);
  if (!last) return;
  const before = fingers.size === 2 ? spread() : null;
  fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  if (before) {
    const after = spread();
    zoomTo(zoom.scale * after.length / Math.max(before.length, 1), stageImages()[0], after.x, after.y);
    pan(after.x - before.x, after.y - before.y);
  } else if (isZoomed()) pan(event.clientX - last.x, event.clientY - last.y);
});
for (const name of ["pointerup", "pointercancel"])
  stage.addEventListener(name, (event) => {
    fingers.delete(event.pointerId);
    const dx = swipe ? event.clientX - swipe.x : 0, dy = swipe ? event.clientY - swipe.y : 0;
    swipe = null;
    if (name === "pointerup" && Math.abs(dx) > 45 && Math.abs(dx) > 1.5 * Math.abs(dy)) stepView(dx < 0 ? 1 : -1);
  });
// Chromium takes a swipe for a fling of the page, and the tap after it for the end of that fling: it makes no click.
stage.addEventListener("touchmove", (event) => { if (fingers.size && event.cancelable) event.preventDefault(); }, { passive: false });
stage.addEventListener("wheel", (event) => {
  const image = paneImage(event);
  if (!image) return;
  event.preventDefault();
  zoomTo(zoom.scale * Math.exp(-event.deltaY * 0.002), image, event.clientX, event.clientY);
}, { passive: false });
stage.addEventListener("dblclick", (event) => toggleZoom(paneImage(event), event.clientX, event.clientY));
