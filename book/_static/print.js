// Paper is white: a page is printed in the light theme, whatever the reader has chosen.
"use strict";

(() => {
  const page = document.documentElement;
  let chosen;

  matchMedia("print").addEventListener("change", ({ matches }) => {
    if (matches) chosen = page.dataset.theme;
    page.dataset.theme = matches ? "light" : chosen;
  });
})();
