// Draws tiles (a picture or a map, a name, a note) and links them: the place under the pointer, or moved with the arrow
// keys, is marked on every tile of the page, and each tile writes its own value there in place of its note. A tile may ask
// for a place (a click, or Enter) or for a box (drawn with the pointer).
const PLACE = "ulsam-viz:place";

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function write(value, unit) {
  const size = Math.abs(value);
  const digits = size === 0 || (size >= 0.01 && size < 1000) ? value.toFixed(size >= 100 ? 1 : size >= 10 ? 2 : 3) : value.toExponential(1);
  return (unit === "signed" && value > 0 ? "+" : "") + digits + (unit === "signed" ? "" : unit === "×" ? unit : " " + unit);
}

const UNITS = { "× uniform": "×", "of its own range": "(stretched)" };

function fractions(event, frame) {
  const box = frame.getBoundingClientRect();
  return [within((event.clientX - box.left) / box.width), within((event.clientY - box.top) / box.height)];
}

function outline(element, [top, left, height, width]) {
  Object.assign(element.style, { display: "block", top: 100 * top + "%", left: 100 * left + "%", height: 100 * height + "%", width: 100 * width + "%" });
}

function askForBox(frame, mark, kept, done) {
  let from = null;
  const restore = () => {
    from = null;
    if (kept) outline(mark, kept);
    else mark.style.display = "none";
  };
  const box = (event) => {
    const [u, v] = fractions(event, frame);
    return [Math.min(v, from[1]), Math.min(u, from[0]), Math.abs(v - from[1]), Math.abs(u - from[0])];
  };
  frame.style.touchAction = "none"; // a finger draws here, it does not scroll
  frame.style.cursor = "crosshair";
  frame.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    from = fractions(event, frame);
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => from && outline(mark, box(event)));
  frame.addEventListener("pointercancel", restore);
  frame.addEventListener("pointerup", (event) => {
    if (!from) return; // pressed elsewhere
    const [top, left, height, width] = box(event);
    if (height < 0.02 || width < 0.02) return restore(); // a click
    from = null;
    done([top, left, top + height, left + width]);
  });
}

// What is under the pointer: the grid that is read, and a value of it in words.
function reader(drawing, values) {
  const block = drawing.block;
  const [rows, columns] = [drawing.rows / block, drawing.columns / block];
  const cells = drawing.rows * drawing.columns;
  const read = (row, column) => {
    if (drawing.kind === "blend") return Math.max(...Array.from({ length: values.length / cells }, (_, p) => values[p * cells + row * columns + column]));
    let sum = 0;
    for (let y = 0; y < block; y++) for (let x = 0; x < block; x++) sum += values[(row * block + y) * drawing.columns + column * block + x];
    const reading = readingOf(drawing, store.display);
    const mean = sum / block ** 2;
    return reading ? reading.offset + reading.factor * mean : mean;
  };
  const words = (row, column) => {
    const unit = readingOf(drawing, store.display)?.unit ?? drawing.unit;
    return write(read(row, column), UNITS[unit] ?? unit);
  };
  return { rows, columns, words };
}

function drawLegend(place, legend) {
  const scale = legend.scales[store.display.scale] ?? legend.scales[""];
  const bar = make("div", { className: "bar" });
  bar.style.background = gradient(legend.signed ? "signed" : store.display.colours);
  const ticks = scale.ticks.map(([position, label]) => {
    const tick = make("span", { textContent: label });
    tick.style.left = 100 * position + "%";
    return tick;
  });
  place.replaceChildren(make("div", { className: "scale" }, bar, ...ticks), make("div", { textContent: scale.unit }));
}

// One control for the whole row, which stays where it was when the page runs again.
function swipeBetween(root, [first, second]) {
  const range = make("input", { type: "range", min: 0, max: 100, value: root.swipe ?? 50 });
  range.setAttribute("aria-label", `Left of the line ${first}, right of it ${second}`);
  const move = (value) => {
    root.swipe = range.value = value;
    root.style.setProperty("--swipe", value + "%");
  };
  range.oninput = () => move(range.value);
  move(range.value);
  const blink = make("button", { type: "button", textContent: "Blink", title: "Turn over from one to the other", onclick: () => move(range.value > 50 ? 0 : 100) });
  return make("div", { className: "swipe" }, make("span", { textContent: first }), range, make("span", { textContent: second }), blink);
}

// Names numbers, for who waits until they are drawn.
function fingerprint(text) {
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
  return hash;
}

function build(tile, data, report) {
  const drawing = tile.drawing;
  const values = drawing?.values ? decode(drawing) : null;
  const over = tile.over ? decode(tile.over) : null;
  const print = fingerprint(drawing?.values ?? "");
  const element = make(tile.selectable ? "button" : "figure", { className: "tile" });
  if (tile.selectable) element.type = "button";
  element.dataset.id = tile.id;
  element.dataset.selectable = tile.selectable;
  element.setAttribute("aria-label", [tile.name, tile.alt || tile.note].filter(Boolean).join(". "));
  if (tile.selectable) element.setAttribute("aria-pressed", tile.selected);
  else if (values || tile.grid) Object.assign(element, { tabIndex: 0, role: "group" });
  if (!tile.selectable && tile.selected) element.setAttribute("aria-current", "true");
  if (tile.hue) element.style.setProperty("--hue", tile.hue);
  if (data.span) element.title = tile.title; // its name is not in sight
  const stretched = make("span");
  const name = make("div", { className: "name", title: tile.title || tile.name }, ...(tile.hue ? [make("span", { className: "swatch" })] : []), make("span", { className: "text", textContent: tile.name }), stretched);
  const frame = make("div", { className: "frame" });
  let canvas = null;
  if (drawing) {
    canvas = make("canvas");
    canvas.dataset.role = tile.role;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", tile.alt || tile.name);
    frame.append(canvas);
  } else if (tile.card) {
    frame.append(make("div", { className: "card", innerHTML: tile.card }));
  } else if (tile.src) {
    const picture = make("img", { src: tile.src, alt: "", draggable: false });
    picture.dataset.role = tile.role;
    frame.append(picture);
  } else {
    frame.append(make("div", { className: "wait", textContent: tile.wait || "" }));
  }
  const above = over ? make("canvas", { className: "over" }) : null;
  if (above) frame.append(above, make("div", { className: "edge" }));
  const cell = make("div", { className: "cell" });
  const mark = make("div", { className: "mark" });
  for (const [name, box] of tile.boxes) {
    const named = make("div", { className: "mark named" }, ...(name ? [make("span", { textContent: name })] : []));
    outline(named, box);
    frame.append(named);
  }
  frame.append(mark, cell);
  if (tile.mark) outline(mark, tile.mark);
  if (tile.ask === "box") askForBox(frame, mark, tile.mark, (box) => report("boxed", { id: tile.id, box }));
  const note = make("div", { className: "note", textContent: tile.note });
  element.append(...(data.small ? [frame, name] : [name, frame, note]));
  const drop = make("button", { type: "button", className: "drop", textContent: "×", title: `Remove ${tile.name}`, onclick: () => report("dropped", tile.id) });
  drop.setAttribute("aria-label", `Remove ${tile.name}`);
  if (tile.drops) name.append(drop);
  if (tile.selectable) element.onclick = () => report("selected", tile.id);

  const reading = values ? reader(drawing, values) : tile.grid ? { rows: tile.grid[0], columns: tile.grid[1], words: () => "" } : null;
  const readingOver = over ? reader(tile.over, over) : null;
  const place = (u, v) => window.dispatchEvent(new CustomEvent(PLACE, { detail: u === null ? null : { u, v } }));
  const cellAt = (u, v, { rows, columns } = reading) => [Math.min(Math.floor(u * columns), columns - 1), Math.min(Math.floor(v * rows), rows - 1)];
  const said = data.said;
  if (reading) {
    const pick = (column, row) => report("picked", { id: tile.id, row, column });
    frame.onpointermove = frame.onpointerdown = (event) => place(...fractions(event, frame));
    if (tile.ask === "place") {
      frame.style.cursor = "crosshair";
      frame.onclick = (event) => pick(...cellAt(...fractions(event, frame)));
    }
    // A finger that lifts also "leaves": its reading stays until the next touch.
    frame.onpointerleave = (event) => event.pointerType === "mouse" && place(null);
    element.onblur = () => place(null);
    let at = null; // where a place is asked for, the arrow keys begin at the one that is marked
    if (tile.ask === "place" && tile.mark) {
      const [top, left, height, width] = tile.mark;
      at = cellAt(left + width / 2, top + height / 2);
    }
    element.onkeydown = (event) => {
      if (event.key === "Enter" && at && tile.ask === "place") pick(...at);
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation(); // the page's own arrow keys do something else
      at = at ? [at[0] + step[0], at[1] + step[1]] : [reading.columns >> 1, reading.rows >> 1];
      at = [within(at[0], 0, reading.columns - 1), within(at[1], 0, reading.rows - 1)];
      place((at[0] + 0.5) / reading.columns, (at[1] + 0.5) / reading.rows);
      said.textContent = `${tile.name}, ${note.textContent}`; // of the tile in hand alone: all at once would be noise
    };
  }
  const show = (detail) => {
    cell.style.display = detail && reading ? "block" : "none";
    if (!reading) return;
    if (!detail) {
      note.textContent = tile.note;
      return;
    }
    const [column, row] = cellAt(within(detail.u), within(detail.v));
    const [top, left] = [Math.max(row - tile.reach, 0), Math.max(column - tile.reach, 0)];
    const [bottom, right] = [Math.min(row + tile.reach + 1, reading.rows), Math.min(column + tile.reach + 1, reading.columns)];
    outline(cell, [top / reading.rows, left / reading.columns, (bottom - top) / reading.rows, (right - left) / reading.columns]);
    let words = reading.words(row, column);
    if (readingOver) {
      const [x, y] = cellAt(within(detail.u), within(detail.v), readingOver);
      words += ` | ${readingOver.words(y, x)}`;
    }
    note.textContent = data.span ? words : `row ${row}, col ${column}` + (words && `: ${words}`);
  };
  const redraw = () => {
    if (drawing?.kind === "blend") element.hidden = !store.display.blend;
    stretched.textContent = drawing?.readings?.stretched && store.display.scale === "stretched" ? " (stretched)" : "";
    if (above) paint(above, tile.over, over, store.display);
    if (canvas && !element.hidden && paint(canvas, drawing, values, store.display)) canvas.dataset.drawn = `${drawing.picture} ${print} ${JSON.stringify(store.display)}`;
  };
  return { element, frame, show, redraw };
}

// A row of thumbnails is one stop of the keyboard: the arrow keys walk in it.
function asOneStop(elements) {
  const stop = elements.find((e) => e.getAttribute("aria-pressed") === "true") ?? elements[0];
  elements.forEach((element, i) => {
    element.tabIndex = element === stop ? 0 : -1;
    element.onkeydown = (event) => {
      const to = { ArrowLeft: i - 1, ArrowUp: i - 1, ArrowRight: i + 1, ArrowDown: i + 1, Home: 0, End: elements.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      event.stopPropagation(); // the page's own arrow keys do something else
      elements.forEach((e) => (e.tabIndex = -1));
      const next = elements[within(to, 0, elements.length - 1)];
      next.tabIndex = 0;
      next.focus();
    };
  });
}

// What lies above is laid out bit by bit: until the visitor does something, or seconds have passed, each change is followed.
function keepInView(element) {
  const block = innerWidth <= 640 || element.clientHeight > innerHeight ? "start" : "nearest";
  const scroll = (behavior) => element.scrollIntoView({ block, behavior });
  scroll(matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth");
  let height = 0;
  const follow = new ResizeObserver(([page]) => {
    if (height && height !== page.contentRect.height) scroll("auto");
    height = page.contentRect.height;
  });
  follow.observe(document.querySelector('[data-testid="stMainBlockContainer"]') ?? document.body);
  const stop = new AbortController();
  stop.signal.addEventListener("abort", () => follow.disconnect());
  ["wheel", "touchstart", "pointerdown", "keydown"].forEach((kind) => addEventListener(kind, () => stop.abort(), { capture: true, passive: true, signal: stop.signal }));
  setTimeout(() => stop.abort(), 8000);
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  takePictures(data.pictures);
  const root = parentElement.querySelector(".tiles");
  root.className = "tiles" + (data.small ? " small" : "") + (data.columns ? " fluid" : "") + (data.columns > 2 && !data.span ? " many" : "") + (data.span ? " lattice" : "");
  root.style.setProperty("--tile", data.width + "px");
  root.style.setProperty("--columns", data.columns);
  root.style.setProperty("--span", data.span);
  const focused = [...root.children].indexOf(root.getRootNode().activeElement);
  const said = make("div", { className: "said" });
  said.setAttribute("aria-live", "polite");
  const tiles = data.tiles.map((tile) => build(tile, { ...data, said }, setTriggerValue));
  root.replaceChildren(...tiles.map((tile) => tile.element));
  if (data.offers.length) {
    const choice = make("select", { onchange: () => setTriggerValue("offered", choice.value) }, make("option", { value: "", textContent: data.offer }), ...data.offers.map(([value, label]) => make("option", { value, textContent: label })));
    choice.setAttribute("aria-label", data.offer);
    root.append(make("div", { className: "tile offer" }, make("div", { className: "name", textContent: "\u00a0" }), make("div", { className: "frame" }, choice)));
  }
  if (data.small) asOneStop(tiles.map((tile) => tile.element));
  root.append(said);
  const [head, legend] = [".head", ".legend"].map((part) => parentElement.querySelector(part));
  head.hidden = !data.heading && !data.legend;
  legend.hidden = !data.legend;
  const help = make("span", { className: "help", tabIndex: 0, textContent: "?", title: data.help });
  help.setAttribute("role", "img");
  help.setAttribute("aria-label", data.help);
  head.replaceChildren(...(data.heading ? [make("h2", { textContent: data.heading, title: data.heading })] : []), ...(data.help ? [help] : []), ...(data.swipe ? [swipeBetween(root, data.swipe)] : []), legend);
  if (focused >= 0 && root.children[focused]) root.children[focused].focus();
  if (data.arrive && root.arrived !== data.arrive) {
    root.arrived = data.arrive;
    keepInView(root);
  }
  const redraw = () => {
    if (data.legend) drawLegend(legend, data.legend);
    tiles.forEach((tile) => tile.redraw());
  };
  const listen = (event) => tiles.forEach((tile) => tile.show(event.detail));
  // New data runs this function again on the same root, without the cleanup that only an unmount calls.
  root.stop?.();
  const sizes = new ResizeObserver(redraw);
  tiles.forEach((tile) => sizes.observe(tile.frame));
  window.addEventListener(PLACE, listen);
  window.addEventListener(DISPLAY, redraw);
  window.addEventListener(PICTURE, redraw);
  root.stop = () => {
    sizes.disconnect();
    window.removeEventListener(PLACE, listen);
    window.removeEventListener(DISPLAY, redraw);
    window.removeEventListener(PICTURE, redraw);
  };
  redraw();
  return () => root.stop();
}
