// The middle chapter is the module: a line past its blocks is the features' own way, round the attention.
function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const nav = parentElement.querySelector("nav");
  const focused = nav.getRootNode().activeElement?.dataset.step;
  const chapters = data.chapters.map(([chapter, steps], i) => {
    const blocks = steps.map(({ id, name, title }) => {
      const block = make("button", { type: "button", textContent: name, title, onclick: () => setTriggerValue("step", id) });
      block.dataset.step = id;
      block.setAttribute("aria-label", title);
      if (id === data.current) block.setAttribute("aria-current", "step");
      return block;
    });
    const group = make("div", { className: i === 1 ? "module" : i ? "whole" : "idea" }, ...blocks);
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", chapter);
    return group;
  });
  nav.replaceChildren(...chapters);
  if (focused) nav.querySelector(`[data-step="${focused}"]`)?.focus();
}
