// How maps are drawn: changed here at once, for every tile of the page; the server is told a moment later, for the address
// and for files, and needs to draw nothing.
const TELL_AFTER = 250; // ms without a further change

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".view");
  // An echo of an older change does not undo a newer one.
  if (data.changes >= store.changes) {
    const before = JSON.stringify(store.display);
    Object.assign(store.display, data.display);
    store.changes = data.changes;
    if (JSON.stringify(store.display) !== before) announce(DISPLAY);
  }
  root.tell = () => setStateValue("display", { ...store.display, changes: store.changes });
  if (!root.fields || data.blend !== "blend" in root.fields) {
    const panel = make("div", { className: "panel", popover: "auto" });
    panel.setAttribute("role", "group");
    panel.setAttribute("aria-label", "View");
    const button = make("button", { type: "button", className: "open", title: "How maps are drawn. Nothing is computed again." }, "View", make("span", { className: "arrow", textContent: "▾" }));
    button.setAttribute("aria-expanded", "false");
    button.onclick = () => {
      panel.togglePopover();
      const at = button.getBoundingClientRect();
      panel.style.top = Math.min(at.bottom + 6, innerHeight - panel.offsetHeight - 8) + "px";
      panel.style.left = Math.max(8, Math.min(at.left, innerWidth - panel.offsetWidth - 8)) + "px";
    };
    panel.ontoggle = (event) => button.setAttribute("aria-expanded", event.newState === "open");
    // Esc closes the innermost thing: this, and not the map that is open behind it.
    root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !panel.matches(":popover-open")) return;
      event.stopPropagation();
      panel.hidePopover();
      button.focus();
    });
    const change = (name, value) => {
      store.display[name] = value;
      store.changes += 1;
      announce(DISPLAY);
      clearTimeout(root.waiting);
      root.waiting = setTimeout(() => root.tell(), TELL_AFTER);
    };
    const field = (name, label, help, control, event) => {
      control[event] = () => change(name, control.type === "checkbox" ? control.checked : control.type === "range" ? Number(control.value) : control.value);
      control.name = name;
      const written = make("label", { title: help }, ...(control.type === "checkbox" ? [control, label] : [label, control]));
      panel.append(written, make("p", { textContent: help }));
      return control;
    };
    const options = (pairs) => pairs.map(([value, textContent]) => make("option", { value, textContent }));
    const checkbox = () => make("input", { type: "checkbox" });
    root.fields = {
      scale: field("scale", "Scale", "× uniform: 1 is no preference. Min-max stretches each map by itself and so invents contrast.", make("select", {}, ...options(data.scales)), "onchange"),
      colours: field("colours", "Colours", "All are even steps to the eye; cividis looks the same to the colour-blind.", make("select", {}, ...options(data.colours)), "onchange"),
      opacity: field("opacity", "Opacity", "Of the map over the picture.", make("input", { type: "range", min: 0, max: 1, step: 0.05 }), "oninput"),
      smooth: field("smooth", "Smooth", "Interpolates; off shows each cell of the network's grid.", checkbox(), "onchange"),
      ...(data.blend && { blend: field("blend", "Blend", "One picture more, coloured by the strongest subspace.", checkbox(), "onchange") }),
    };
    root.replaceChildren(button, panel);
  }
  for (const [name, control] of Object.entries(root.fields)) {
    if (control.type === "checkbox") control.checked = store.display[name];
    else if (control !== root.getRootNode().activeElement) control.value = store.display[name];
  }
}
