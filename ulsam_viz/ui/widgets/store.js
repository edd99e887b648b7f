// What the page's components share, once for a page: pictures (each is sent once), how maps are drawn (changed without
// the server), and the tables of colours. The tables are the package's own.
const TABLES = __TABLES__;
const MOST_PIXELS = 6e6; // of all pictures that are kept: about 480 small ones, or 120 of 224 px a side
const DISPLAY = "ulsam-viz:display";
const PICTURE = "ulsam-viz:picture";

const store = (window.ulsamViz ??= {
  pictures: new Map(), // key -> {colour: image, grey: canvas}, oldest first
  display: { scale: "uniform", colours: "viridis", opacity: 0.65, smooth: false, blend: false },
  changes: 0, // of the display, by hand, since the page was loaded
  tables: new Map(),
});

function bytes(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

function table(name) {
  if (!store.tables.has(name)) store.tables.set(name, bytes(TABLES[name]));
  return store.tables.get(name);
}

function gradient(name) {
  const t = table(name);
  const stops = Array.from({ length: 18 }, (_, i) => `rgb(${t[45 * i]},${t[45 * i + 1]},${t[45 * i + 2]})`);
  return `linear-gradient(90deg,${stops.join(",")})`;
}

function announce(name) {
  window.dispatchEvent(new CustomEvent(name));
}

function dropOldest() {
  let pixels = 0;
  for (const { grey } of store.pictures.values()) pixels += grey.width * grey.height;
  for (const [key, { grey }] of store.pictures) {
    if (pixels <= MOST_PIXELS || store.pictures.size === 1) return;
    store.pictures.delete(key);
    pixels -= grey.width * grey.height;
  }
}

function takePictures(pictures) {
  for (const [key, source] of Object.entries(pictures ?? {})) {
    const kept = store.pictures.get(key);
    store.pictures.delete(key);
    if (kept) {
      store.pictures.set(key, kept);
      continue;
    }
    const image = new Image();
    image.onload = () => {
      const grey = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
      const context = grey.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      const data = context.getImageData(0, 0, grey.width, grey.height);
      const pixels = data.data;
      for (let i = 0; i < pixels.length; i += 4) {
        pixels[i] = pixels[i + 1] = pixels[i + 2] = 0.299 * pixels[i] + 0.587 * pixels[i + 1] + 0.114 * pixels[i + 2];
      }
      context.putImageData(data, 0, 0);
      store.pictures.set(key, { colour: image, grey });
      dropOldest();
      announce(PICTURE);
    };
    image.src = source;
  }
}
