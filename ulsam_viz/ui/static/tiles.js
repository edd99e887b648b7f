// Draws tiles (a picture, a name, a note) and links them: the place under the pointer, or moved with the arrow keys, is
// marked on every tile of the page, and each tile writes its own value there in place of its note.
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

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".tiles");
  root.style.setProperty("--tile", data.width + "px");
  root.classList.toggle("small", data.small);
  root.classList.toggle("lattice", data.columns > 0);
  root.style.setProperty("--columns", data.columns);
  root.style.setProperty("--span", data.columns / Math.max(1, data.tiles.length));
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
    frame.appendChild(cell);
    const note = Object.assign(document.createElement("div"), { className: "note", textContent: tile.note });
    element.append(...(data.small ? [frame, name] : [name, frame, note]));
    root.appendChild(element);
    const values = tile.values ? decode(tile.values) : null;
    if (tile.selectable) element.onclick = () => setTriggerValue("selected", tile.id);

    const place = (u, v) => window.dispatchEvent(new CustomEvent(PLACE, { detail: u === null ? null : { u, v } }));
    if (values) {
      frame.onpointermove = frame.onpointerdown = (event) => {
        const box = frame.getBoundingClientRect();
        place((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
      };
      // A finger that lifts also "leaves": its reading stays until the next touch.
      frame.onpointerleave = (event) => event.pointerType === "mouse" && place(null);
      element.onblur = () => place(null);
      let at = null;
      element.onkeydown = (event) => {
        const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
        if (!step) return;
        event.preventDefault();
        at = at ? [at[0] + step[0], at[1] + step[1]] : [tile.columns >> 1, tile.rows >> 1];
        at = [Math.min(Math.max(at[0], 0), tile.columns - 1), Math.min(Math.max(at[1], 0), tile.rows - 1)];
        place((at[0] + 0.5) / tile.columns, (at[1] + 0.5) / tile.rows);
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
  if (focused >= 0 && root.children[focused]) root.children[focused].focus();
  const listen = (event) => tiles.forEach((show) => show(event.detail));
  // New data runs this function again on the same root, without the cleanup that only an unmount calls.
  root.stop?.();
  root.stop = () => window.removeEventListener(PLACE, listen);
  window.addEventListener(PLACE, listen);
  return () => root.stop();
}
