// Shows a whole picture and the square of it that is looked at: drag it, drag a corner, or use the arrow keys and + and -.
const STEP = 0.02; // of a key
const QUIET = 400; // milliseconds after the last key until the choice is reported
const clip = (value, least, most) => Math.min(Math.max(value, least), Math.max(least, most));

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const frame = parentElement.querySelector(".crop");
  const square = frame.querySelector(".square");
  const kept = (frame.kept ??= {});
  if (kept.of === data.of && kept.busy) return; // the visitor goes on meanwhile
  clearTimeout(kept.timer);

  // In units of the picture's shorter side: what is square here is square on the screen.
  const shorter = Math.min(data.width, data.height);
  const [wide, high] = [data.width / shorter, data.height / shorter];
  const [top, left, given] = data.square;
  let [x, y, side] = [left * wide, top * high, given];
  Object.assign(kept, { of: data.of, busy: false });

  const draw = () => {
    side = clip(side, data.smallest, 1);
    x = clip(x, 0, wide - side);
    y = clip(y, 0, high - side);
    const [across, down] = [100 / wide, 100 / high];
    Object.assign(square.style, { left: x * across + "%", top: y * down + "%", width: side * across + "%", height: side * down + "%" });
    const [t, l, s] = [y * down, x * across, 100 * side].map(Math.round);
    square.setAttribute("aria-label", `Crop: ${t} % from the top, ${l} % from the left, side ${s} %. Arrow keys move it, + and - resize it.`);
  };
  const report = () => {
    clearTimeout(kept.timer);
    kept.busy = false;
    setTriggerValue("square", { of: data.of, values: [y / high, x / wide, side] });
  };

  const image = frame.querySelector("img");
  if (image.src !== data.src) image.src = data.src;
  frame.style.width = data.shown + "px";
  frame.style.aspectRatio = `${data.width} / ${data.height}`;
  draw();

  let drag = null; // what was pressed, where, and the square then
  const at = (event) => {
    const box = frame.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * wide, ((event.clientY - box.top) / box.height) * high];
  };
  square.onpointerdown = (event) => {
    if (event.button) return;
    drag = { corner: event.target.dataset.corner, from: at(event), was: [x, y, side] };
    kept.busy = true;
    square.setPointerCapture(event.pointerId);
    square.focus();
    event.preventDefault();
  };
  square.onpointermove = (event) => {
    if (!drag) return;
    const [px, py] = at(event);
    const [wasX, wasY, was] = drag.was;
    if (!drag.corner) {
      [x, y] = [wasX + px - drag.from[0], wasY + py - drag.from[1]];
    } else {
      // The opposite corner stays where it is.
      const [toRight, toBottom] = [drag.corner.includes("e"), drag.corner.includes("s")];
      const [anchorX, anchorY] = [toRight ? wasX : wasX + was, toBottom ? wasY : wasY + was];
      const room = Math.min(1, toRight ? wide - anchorX : anchorX, toBottom ? high - anchorY : anchorY);
      const [pulledX, pulledY] = [px - drag.from[0], py - drag.from[1]].map((by, i) => ((i ? toBottom : toRight) ? by : -by));
      side = clip(was + Math.max(pulledX, pulledY), data.smallest, room);
      [x, y] = [toRight ? anchorX : anchorX - side, toBottom ? anchorY : anchorY - side];
    }
    draw();
  };
  square.onpointerup = () => {
    if (!drag) return;
    const moved = [x, y, side].some((value, i) => value !== drag.was[i]);
    drag = null;
    kept.busy = false;
    if (moved) report();
  };
  square.onpointercancel = () => {
    if (!drag) return;
    [x, y, side] = drag.was;
    drag = null;
    kept.busy = false;
    draw();
  };
  square.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0], "+": [0, 0, 1], "=": [0, 0, 1], "-": [0, 0, -1] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const was = side;
    side = clip(side + step[2] * STEP, data.smallest, 1);
    x += step[0] * STEP * wide + (was - side) / 2; // it grows and shrinks about its middle
    y += step[1] * STEP * high + (was - side) / 2;
    kept.busy = true;
    draw();
    clearTimeout(kept.timer);
    kept.timer = setTimeout(report, QUIET);
  };
  return () => kept.timer && kept.busy && report(); // the popover was closed before the keys were quiet
}
