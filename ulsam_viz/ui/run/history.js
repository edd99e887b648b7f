// Makes each choice that leads to another view one step of the browser's history. Streamlit alone writes what a control was
// moved to over the address that is there, and adds a step for each of its own corrections. On Back and Forward, Streamlit
// sets its controls by the address.
if (!window.ulsamHistory) {
  window.ulsamHistory = true; // every run of the page brings this script again
  const VIEW = ["picture", "crop", "net", "position", "g"];
  const { pushState, replaceState } = history;
  let stepped = true; // one input of the visitor makes one step at most: dragging a slider, too
  for (const input of ["pointerdown", "keydown", "click", "change", "drop"]) window.addEventListener(input, () => (stepped = false), true);
  window.addEventListener("popstate", () => (stepped = true), true);
  const writeAs = (given) =>
    function (state, unused, address) {
      const now = new URL(location.href);
      const next = new URL(address ?? now, now);
      const moved = given === pushState || VIEW.some((key) => next.searchParams.get(key) !== now.searchParams.get(key));
      const step = !stepped && (moved || next.pathname !== now.pathname);
      stepped ||= step;
      (step ? pushState : replaceState).call(history, state, unused, address);
    };
  history.pushState = writeAs(pushState);
  history.replaceState = writeAs(replaceState);
}
