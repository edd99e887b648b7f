// Esc does what the page's Close or Leave button does, wherever the focus is: a table of numbers keeps the key from Streamlit's own
// shortcuts. Where something smaller is open, a list, a popover or a cell that is edited, Esc closes that alone.
if (!window.ulsamEscape) {
  window.ulsamEscape = true; // every run of the page brings this script again
  const OPEN = '[role="listbox"], [role="dialog"], [role="menu"], [aria-expanded="true"][role="combobox"], [data-testid="stPopoverBody"], #portal textarea, #portal input';
  const roots = (root) => [root, ...[...root.querySelectorAll("*")].flatMap((e) => (e.shadowRoot ? roots(e.shadowRoot) : []))];
  const isSeen = (element) => element.checkVisibility() && element.getClientRects().length > 0;
  const isOpen = () => [...document.querySelectorAll(OPEN)].some(isSeen) || roots(document).some((root) => root.querySelector(":popover-open"));
  window.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape" || event.isComposing || isOpen()) return;
      document.querySelector(".st-key-close-large button, .st-key-leave button")?.click();
    },
    true, // before the open thing hears it, and is gone
  );
}
