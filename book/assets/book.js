// A formula wider than its column says so at the edge where it goes on. It can be focused, and then the arrow
// keys move it, so that it is reachable without a mouse.
(() => {
  const mark = () => {
    for (const formula of document.querySelectorAll('mjx-container[display="true"]')) {
      const beyond = formula.scrollWidth - formula.clientWidth;
      formula.classList.toggle("wide", beyond > 1);
      formula.classList.toggle("at-end", formula.scrollLeft >= beyond - 1);
      if (beyond > 0) formula.tabIndex = 0;
      else formula.removeAttribute("tabindex");
    }
  };
  addEventListener("scroll", (event) => event.target.matches?.(".wide") && mark(), true);
  addEventListener("load", async () => {
    if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
    mark();
    addEventListener("resize", mark);
  });
})();

// The theme's arrows that open a part of the contents have no name of their own.
addEventListener("DOMContentLoaded", () => {
  for (const arrow of document.querySelectorAll("summary:has(> .toctree-toggle)")) {
    const link = arrow.closest("li")?.querySelector("a");
    arrow.setAttribute("aria-label", `Pages under ${link ? link.textContent.trim() : "this one"}`);
  }
});

// A page opened from the file system may not read others: search then lists its finds without excerpts.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined")
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
