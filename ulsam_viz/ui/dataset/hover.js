// Tells which point of a Plotly chart the pointer is on, and which was clicked: the chart is Streamlit's, and reports selections only.
// Tells too that the browser has WebGL, where a chart has more points than it should draw without.
export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".hover");
  const scope = document.querySelector(`.st-key-${data.chart}`);
  root.stop?.(); // new data runs this function again on the same root
  let chart = null;
  let last = data.marked; // to ask for that one would draw the chart anew, without its mark, under the pointer
  let timer = 0;
  const pictureOf = (event) => {
    const point = event.points?.[0];
    return Number.isInteger(point?.customdata) ? point.customdata : null;
  };
  const hovered = (event) => {
    const picture = pictureOf(event);
    clearTimeout(timer);
    // A pointer that only passes asks for nothing.
    timer = setTimeout(() => {
      if (picture === null || picture === last) return;
      last = picture;
      setTriggerValue("hovered", picture);
    }, 60);
  };
  const clicked = (event) => {
    const picture = pictureOf(event);
    clearTimeout(timer);
    if (picture !== null) setTriggerValue("clicked", picture);
  };
  const attach = () => {
    const found = scope?.querySelector(".js-plotly-plot");
    if (!found?.on || found === chart) return;
    chart = found;
    chart.on("plotly_hover", hovered);
    chart.on("plotly_click", clicked);
  };
  const watch = new MutationObserver(attach); // the chart may come later, or anew
  if (scope) watch.observe(scope, { childList: true, subtree: true });
  attach();
  if (data.wantsWebgl) {
    const context = document.createElement("canvas").getContext("webgl");
    context?.getExtension("WEBGL_lose_context")?.loseContext(); // a page may hold but a few of them
    if (context) setTriggerValue("webgl", true);
  }
  root.stop = () => {
    watch.disconnect();
    clearTimeout(timer);
    chart?.removeListener?.("plotly_hover", hovered);
    chart?.removeListener?.("plotly_click", clicked);
  };
  return () => root.stop();
}
