// Draws a tile's numbers on a canvas, as `figures.drawing.paint` draws them in Python.
const FINE = 224; // cells a side of what is interpolated, at most: a small tile needs no more than it has pixels

function decode(drawing) {
  const raw = bytes(drawing.values).buffer;
  if (drawing.step === null) return new Float32Array(raw);
  return Float32Array.from(new Int16Array(raw), (v) => v * drawing.step);
}

function readingOf(drawing, display) {
  return drawing.readings ? (drawing.readings[display.scale] ?? drawing.readings[""]) : null;
}

function within(v, low = 0, high = 1) {
  return Math.min(Math.max(v, low), high);
}

// Positions on the colour scale: 0 to 1, or -1 to 1 where there is a sign.
function positions(drawing, values, display) {
  if (drawing.kind === "map") {
    const { factor, offset, low, high, logarithmic } = readingOf(drawing, display);
    const span = logarithmic ? Math.log2(high / low) : high - low;
    return values.map((v) => {
      const shown = offset + factor * v;
      return span > 0 ? within((logarithmic ? Math.log2(Math.max(shown, 1e-9) / low) : shown - low) / span) : 0;
    });
  }
  if (drawing.kind === "values") {
    const [low, high] = drawing.range;
    return values.map((v) => (high > low ? (v - low) / (high - low) : 0));
  }
  if (drawing.kind === "blend") return values;
  return values.map((v) => (drawing.limit > 0 ? within(v / drawing.limit, drawing.kind === "signed" ? -1 : 0, 1) : 0));
}

// Bilinear, with the borders kept, as Pillow enlarges.
function enlarge(values, rows, columns, side) {
  const out = new Float32Array(side * side);
  const at = (i, n) => {
    const v = within(((i + 0.5) * n) / side - 0.5, 0, n - 1);
    const first = Math.floor(v);
    return [first, Math.min(first + 1, n - 1), v - first];
  };
  const across = Array.from({ length: side }, (_, i) => at(i, columns));
  for (let y = 0; y < side; y++) {
    const [top, bottom, v] = at(y, rows);
    for (let x = 0; x < side; x++) {
      const [left, right, u] = across[x];
      const upper = values[top * columns + left] * (1 - u) + values[top * columns + right] * u;
      const lower = values[bottom * columns + left] * (1 - u) + values[bottom * columns + right] * u;
      out[y * side + x] = upper * (1 - v) + lower * v;
    }
  }
  return out;
}

// The colours of one tile of so many pixels a side, cell by cell, each with its own transparency.
function colour(drawing, values, display, side) {
  let { rows, columns } = drawing;
  let where = positions(drawing, values, display);
  const enlarged = Math.min(side, FINE);
  if (display.smooth && rows < enlarged && drawing.kind !== "values") {
    const planes = where.length / (rows * columns);
    const fine = new Float32Array(planes * enlarged ** 2);
    for (let p = 0; p < planes; p++) {
      fine.set(enlarge(where.subarray(p * rows * columns, (p + 1) * rows * columns), rows, columns, enlarged), p * enlarged ** 2);
    }
    [where, rows, columns] = [fine, enlarged, enlarged];
  }
  const canvas = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
  const image = new ImageData(columns, rows);
  const cells = rows * columns;
  const signed = drawing.kind === "signed";
  const colours = table(signed || (drawing.kind === "values" && drawing.range[0] < 0) ? "signed" : display.colours);
  const pixels = image.data;
  for (let i = 0, to = 0; i < cells; i++, to += 4) {
    if (drawing.kind === "blend") {
      let winner = 0;
      for (let p = 1; p < where.length / cells; p++) if (where[p * cells + i] > where[winner * cells + i]) winner = p;
      for (let c = 0; c < 3; c++) pixels[to + c] = drawing.hues[winner][c];
      pixels[to + 3] = 255 * within((where[winner * cells + i] - 1) / 3);
    } else {
      const index = 3 * Math.round(255 * within(signed ? (where[i] + 1) / 2 : where[i]));
      for (let c = 0; c < 3; c++) pixels[to + c] = colours[index + c];
      pixels[to + 3] = signed ? 255 * Math.sqrt(Math.abs(where[i])) : 255; // near 0 the picture shows, not the scale's white middle
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// Returns whether it could: the picture below may still be on its way. What is painted already is left as it is.
function paint(canvas, drawing, values, display) {
  const side = Math.round(canvas.clientWidth * Math.min(window.devicePixelRatio || 1, 2));
  if (!side) return false;
  // Kept as long as the tile is: the store may have dropped it when the tile is painted again.
  const below = (canvas.below ??= drawing.picture ? store.pictures.get(drawing.picture) : null);
  if (drawing.picture && !below) return false;
  const painted = `${side} ${JSON.stringify(display)}`;
  if (canvas.painted === painted) return true;
  canvas.painted = painted;
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  if (below) context.drawImage(drawing.kind === "picture" ? below.colour : below.grey, 0, 0, side, side);
  if (values) {
    context.imageSmoothingEnabled = drawing.rows > side || (display.smooth && drawing.kind !== "values");
    context.globalAlpha = below ? display.opacity : 1;
    context.drawImage(colour(drawing, values, display, side), 0, 0, side, side);
  }
  return true;
}
