// What a reader of a page would notice, gathered after MathJax has finished.
async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  const main = document.querySelector("main") || document.body;
  const start = (text) => text.trim().slice(0, 80);
  const name = (e) => start(e.getAttribute("alt") || e.getAttribute("src") || e.outerHTML);
  const all = (selector, root = main) => [...root.querySelectorAll(selector)];
  const shown = all("img", document).filter((e) => e.getClientRects().length);
  shown.forEach((e) => { e.loading = "eager"; });
  await Promise.all(shown.map((e) => e.decode().catch(() => {})));

  const formulas = all(".math", document);
  const prose = main.cloneNode(true);
  all("pre, code, script, style, noscript, mjx-container", prose).forEach((e) => e.remove());
  const marks = ["$$", "\\(", "\\[", "\\begin{", "(???)", "{cite}", "{eq}", "{prf:ref}", "{numref}", "{glue"];
  return {
    formulas: formulas.length,
    untypeset: formulas.filter((e) => !e.querySelector("mjx-container")).map((e) => start(e.textContent)),
    tex_errors: all("mjx-merror", document).map((e) => e.getAttribute("data-mjx-error") || start(e.textContent)),
    raw: marks.filter((mark) => prose.textContent.includes(mark)),
    images: document.images.length,
    without_alt: all("img", document).filter((e) => !(e.getAttribute("alt") || "").trim()).map(name),
    broken_images: all("img", document).filter((e) => e.complete && !e.naturalWidth).map(name),
    without_caption: all("figure")
      .filter((e) => !(e.querySelector("figcaption")?.textContent || "").trim())
      .map((e) => e.id || e.className),
    without_number: all("figure:not(.ssl-control) figcaption")
      .filter((e) => !e.querySelector(".caption-number"))
      .map((e) => start(e.textContent)),
    outside_figures: all(".cell_output img").filter((e) => !e.closest("figure")).map(name),
    links: all("a[href]", document).map((e) => new URL(e.getAttribute("href"), document.baseURI).href),
    tracebacks: all(".output.traceback, .output.stderr").map((e) => start(e.textContent)),
  };
}
