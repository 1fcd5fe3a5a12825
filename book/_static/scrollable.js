// A box that scrolls sideways can be scrolled by key only if it can get the focus. The theme does this for code; tables, entries of the
// API and long formulas are left. Boxes whose content fits are no stops of the tab key. The boxes are measured in idle moments, a few at
// a time, because measuring all of them at once would hold up the page.
const BOXES = "article table, .pst-scrollable-table-container, dl.py, dl.py dd, dl.py dt, .katex-display";
let waiting = [];
const mark = (box) => {
  const scrolls = box.scrollWidth > box.clientWidth && /auto|scroll/.test(getComputedStyle(box).overflowX);
  if (scrolls) box.tabIndex = 0;
  else if (box.getAttribute("tabindex") === "0") box.removeAttribute("tabindex");
};
const whenIdle = window.requestIdleCallback || ((work) => setTimeout(() => work({ timeRemaining: () => 10 }), 50)); // Safari has none
const markSome = (moment) => {
  while (waiting.length && moment.timeRemaining() > 2) mark(waiting.shift());
  if (waiting.length) whenIdle(markSome);
};
const markAll = () => {
  if (!waiting.length) whenIdle(markSome);
  waiting = [...document.querySelectorAll(BOXES)];
};
window.addEventListener("load", markAll);
window.addEventListener("resize", markAll);
document.addEventListener("toggle", markAll, true); // what was folded had no size
