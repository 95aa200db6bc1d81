// What scrolls sideways is reached by keyboard. The theme sees to code and tables when a page is
// loaded or changes its width; this sees to formulas, and has the theme look again in opened folds.
"use strict";

addEventListener("load", () => {
  function look() {
    for (const formula of document.querySelectorAll("mjx-container")) {
      if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
      else formula.removeAttribute("tabindex");
    }
  }

  // It changes its size with the window, with the sidebars, and as its formulas are set.
  new ResizeObserver(look).observe(document.getElementById("main-content"));
  document.addEventListener("toggle", () => dispatchEvent(new Event("resize")), true);
});
