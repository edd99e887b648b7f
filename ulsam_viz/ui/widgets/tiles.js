// Draws tiles (a picture, a name, a note) and links them: the place under the pointer, or moved with the arrow keys, is
// marked on every tile of the page, and each tile writes its own value there in place of its note. A tile may ask for a
// place (a click, or Enter) or for a box (drawn with the pointer).
const PLACE = "ulsam-viz:place";

function decode(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

function write(value, unit) {
  const size = Math.abs(value);
  const digits = size === 0 || (size >= 0.01 && size < 1000) ? value.toFixed(size >= 100 ? 1 : size >= 10 ? 2 : 3) : value.toExponential(1);
  return (unit === "signed" && value > 0 ? "+" : "") + digits + (unit === "signed" ? "" : unit === "×" ? unit : " " + unit);
}

function fractions(event, frame) {
  const box = frame.getBoundingClientRect();
  const clip = (v) => Math.min(Math.max(v, 0), 1);
  return [clip((event.clientX - box.left) / box.width), clip((event.clientY - box.top) / box.height)];
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

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".tiles");
  root.style.setProperty("--tile", data.width + "px");
  root.classList.toggle("small", data.small);
  root.classList.toggle("lattice", data.columns > 0);
  root.style.setProperty("--columns", data.columns);
  root.style.setProperty("--span", data.columns / Math.max(1, data.tiles.length));
  const said = document.createElement("div");
  said.className = "said";
  said.setAttribute("aria-live", "polite");
  const focused = [...root.children].indexOf(root.getRootNode().activeElement);
  root.replaceChildren();
  const tiles = data.tiles.map((tile) => {
    const element = document.createElement(tile.selectable ? "button" : "figure");
    element.className = "tile";
    element.dataset.selectable = tile.selectable;
    element.dataset.id = tile.id;
    element.setAttribute("aria-label", tile.name + ". " + tile.note);
    if (tile.selectable) element.setAttribute("aria-pressed", tile.selected);
    else if (tile.values) element.tabIndex = 0;
    if (!tile.selectable && tile.selected) element.setAttribute("aria-current", "true");
    if (tile.hue) element.style.setProperty("--hue", tile.hue);
    const name = document.createElement("div");
    name.className = "name";
    if (tile.hue) name.appendChild(Object.assign(document.createElement("span"), { className: "swatch" }));
    name.appendChild(document.createTextNode(tile.name));
    name.title = tile.title || tile.name;
    const frame = document.createElement("div");
    frame.className = "frame";
    if (tile.src) {
      frame.appendChild(Object.assign(document.createElement("img"), { src: tile.src, alt: "", draggable: false }));
    } else {
      frame.appendChild(Object.assign(document.createElement("div"), { className: "wait", textContent: tile.wait || "" }));
    }
    const cell = Object.assign(document.createElement("div"), { className: "cell" });
    const mark = Object.assign(document.createElement("div"), { className: "mark" });
    frame.append(mark, cell);
    if (tile.mark) outline(mark, tile.mark);
    if (tile.ask === "box") askForBox(frame, mark, tile.mark, (box) => setTriggerValue("boxed", { id: tile.id, box }));
    const note = Object.assign(document.createElement("div"), { className: "note", textContent: tile.note });
    element.append(...(data.small ? [frame, name] : [name, frame, note]));
    root.appendChild(element);
    const values = tile.values ? decode(tile.values) : null;
    if (tile.selectable) element.onclick = () => setTriggerValue("selected", tile.id);

    const place = (u, v) => window.dispatchEvent(new CustomEvent(PLACE, { detail: u === null ? null : { u, v } }));
    if (values) {
      const pick = (column, row) => setTriggerValue("picked", { id: tile.id, row, column });
      frame.onpointermove = frame.onpointerdown = (event) => place(...fractions(event, frame));
      if (tile.ask === "place") {
        frame.style.cursor = "crosshair";
        frame.onclick = (event) => {
          const [u, v] = fractions(event, frame);
          pick(Math.min(Math.floor(u * tile.columns), tile.columns - 1), Math.min(Math.floor(v * tile.rows), tile.rows - 1));
        };
      }
      // A finger that lifts also "leaves": its reading stays until the next touch.
      frame.onpointerleave = (event) => event.pointerType === "mouse" && place(null);
      element.onblur = () => place(null);
      let at = null; // where a place is asked for, the arrow keys begin at the one that is marked
      if (tile.ask === "place" && tile.mark) {
        const [top, left, height, width] = tile.mark;
        at = [Math.floor((left + width / 2) * tile.columns), Math.floor((top + height / 2) * tile.rows)];
      }
      element.onkeydown = (event) => {
        if (event.key === "Enter" && at && tile.ask === "place") pick(...at);
        const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
        if (!step) return;
        event.preventDefault();
        at = at ? [at[0] + step[0], at[1] + step[1]] : [tile.columns >> 1, tile.rows >> 1];
        at = [Math.min(Math.max(at[0], 0), tile.columns - 1), Math.min(Math.max(at[1], 0), tile.rows - 1)];
        place((at[0] + 0.5) / tile.columns, (at[1] + 0.5) / tile.rows);
        said.textContent = `${tile.name}, ${note.textContent}`; // of the tile in hand alone: all at once would be noise
      };
    }
    const show = (detail) => {
      cell.style.display = detail && values ? "block" : "none";
      if (!values) return;
      if (!detail) {
        note.textContent = tile.note;
        return;
      }
      const column = Math.min(Math.max(Math.floor(detail.u * tile.columns), 0), tile.columns - 1);
      const row = Math.min(Math.max(Math.floor(detail.v * tile.rows), 0), tile.rows - 1);
      Object.assign(cell.style, {
        left: (100 * column) / tile.columns + "%",
        top: (100 * row) / tile.rows + "%",
        width: 100 / tile.columns + "%",
        height: 100 / tile.rows + "%",
      });
      note.textContent = `row ${row}, col ${column}: ` + write(values[row * tile.columns + column], tile.unit);
    };
    return show;
  });
  root.appendChild(said);
  if (focused >= 0 && root.children[focused]) root.children[focused].focus();
  const listen = (event) => tiles.forEach((show) => show(event.detail));
  // New data runs this function again on the same root, without the cleanup that only an unmount calls.
  root.stop?.();
  root.stop = () => window.removeEventListener(PLACE, listen);
  window.addEventListener(PLACE, listen);
  return () => root.stop();
}
