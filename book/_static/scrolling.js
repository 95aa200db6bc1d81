// What scrolls sideways is reached by keyboard. The theme sees to code and tables when a page is
// loaded or changes its width; this sees to formulas, and has the theme look again in opened folds.
"use strict";

(() => {
  function look() {
    for (const formula of document.querySelectorAll("mjx-container")) {
      if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
      else formula.removeAttribute("tabindex");
    }
  }

  addEventListener("load", () => window.MathJax?.startup?.promise?.then(look));
  addEventListener("resize", look);
  document.addEventListener("toggle", () => dispatchEvent(new Event("resize")), true);
})();
