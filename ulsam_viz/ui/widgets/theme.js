// Streamlit reads the theme that was chosen when a page is loaded, under a key of that page's own path: what is chosen here is
// written for all of them, and the page is loaded again. What is looked at is in the address.
export default function ({ data, parentElement }) {
  const select = parentElement.querySelector("select");
  if (select.options.length) return;
  const here = location.pathname.split("/").filter(Boolean);
  const root = data.pages.includes(here.at(-1)) ? here.slice(0, -1) : here;
  const paths = data.pages.map((page) => "/" + [...root, page].filter(Boolean).join("/"));
  // Below another path than "/", the app's own address ends in a slash or not.
  const keys = paths.flatMap((path) => (path === "/" ? [path] : [path, `${path}/`])).map((path) => `stActiveTheme-${path}-v2`);
  select.append(...["System", "Light", "Dark"].map((name) => new Option(name)));
  let chosen = null;
  try {
    chosen = JSON.parse(localStorage.getItem(`stActiveTheme-${location.pathname}-v2`));
  } catch {}
  select.value = ["Light", "Dark"].includes(chosen) ? chosen : "System";
  select.onchange = () => {
    keys.forEach((key) => localStorage.setItem(key, JSON.stringify(select.value)));
    location.reload();
  };
}
