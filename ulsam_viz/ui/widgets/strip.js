// The head of a page: the picture, what it shows, and the answer; a click on a class makes it the target.
function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

export default function ({ data, parentElement, setTriggerValue }) {
  takePictures(data.pictures);
  const root = parentElement.querySelector(".strip");
  const focused = root.getRootNode().activeElement?.dataset.number;
  const thumb = make("img", { alt: `The picture as the network sees it: ${data.title}` });
  thumb.dataset.role = "thumbnail";
  const draw = () => (thumb.src = store.pictures.get(data.picture)?.colour.src ?? "");
  const answers = data.answers.map(({ number, name, share, written, target }) => {
    const bar = make("span", { className: "bar" });
    bar.style.width = `${Math.max(2, 100 * share)}%`;
    const label = make("span", { className: "label" }, make("span", { textContent: name }), make("b", { textContent: written }));
    const button = make("button", { type: "button", title: `${name} ${written}. Click: attributions explain this class.`, onclick: () => setTriggerValue("target", number) }, label, make("span", { className: "track" }, bar));
    button.setAttribute("aria-pressed", target);
    button.dataset.number = number;
    return button;
  });
  const chip = make("span", { className: "chip", textContent: data.network, title: data.about });
  const list = make("div", { className: "answers" }, ...answers);
  list.setAttribute("role", "group");
  list.setAttribute("aria-label", "Most probable classes");
  const heading = make("h1", { textContent: data.title });
  root.replaceChildren(thumb, make("div", { className: "words" }, make("div", { className: "line" }, heading, chip), list));
  [...list.children].find((e) => e.dataset.number === focused)?.focus();
  root.stop?.();
  window.addEventListener(PICTURE, draw);
  root.stop = () => window.removeEventListener(PICTURE, draw);
  draw();
  return () => root.stop();
}
