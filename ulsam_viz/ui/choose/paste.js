// Takes a picture from the clipboard, wherever on the page it is pasted, and hands over its bytes, at a size that Python keeps.
const SHORTER = 1024;
const LONGER = 3072;
const SMALL = 2 ** 21; // bytes that are sent as they are; a large PNG is sent as a JPEG

function isText(event) {
  const target = event.composedPath()[0];
  if (!(target instanceof Element)) return false;
  const button = /^(button|checkbox|file|radio|range|submit)$/.test(target.type);
  return target.isContentEditable || target.matches("textarea") || (target.matches("input") && !button);
}

async function shrunk(file) {
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    return file; // Python says what is wrong with it
  }
  const { width, height } = image;
  const scale = Math.min(1, SHORTER / Math.min(width, height), LONGER / Math.max(width, height));
  if (scale === 1 && file.size <= SMALL) return file;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // a JPEG's transparent places would be black
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return (await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92))) ?? file;
}

function encode(blob) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = failed;
    reader.readAsDataURL(blob);
  });
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".paste");
  const listen = async (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (!file || isText(event)) return;
    event.preventDefault();
    const found = await shrunk(file);
    // The number makes two equal pastes two reports.
    const [size, time] = [found.size, Date.now()];
    setTriggerValue("pasted", { size, time, data: size <= data.most ? await encode(found) : "" });
  };
  root.stop?.(); // new data runs this function again on the same root
  root.stop = () => document.removeEventListener("paste", listen);
  document.addEventListener("paste", listen);
  return () => root.stop();
}
