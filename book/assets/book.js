// A formula wider than its column says so at the edge where it goes on. It can be focused, as a figure that is wider
// can, and then the arrow keys move it, so that it is reachable without a mouse.
(() => {
  const mark = () => {
    for (const formula of document.querySelectorAll('mjx-container[display="true"]')) {
      const beyond = formula.scrollWidth - formula.clientWidth;
      formula.classList.toggle("wide", beyond > 1);
      formula.classList.toggle("at-end", formula.scrollLeft >= beyond - 1);
      if (beyond > 0) formula.tabIndex = 0;
      else formula.removeAttribute("tabindex");
    }
    for (const figure of document.querySelectorAll(".bd-article figure"))
      if (figure.scrollWidth > figure.clientWidth + 1) figure.tabIndex = 0;
      else figure.removeAttribute("tabindex");
  };
  addEventListener("scroll", (event) => event.target.matches?.(".wide") && mark(), true);
  addEventListener("load", async () => {
    if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
    mark();
    addEventListener("resize", mark);
  });
})();

// A formula keeps the punctuation behind it: a browser may end a line between the two, and begin the next with a comma.
addEventListener("DOMContentLoaded", () => {
  for (const formula of document.querySelectorAll("span.math")) {
    const behind = formula.nextSibling;
    const signs = behind?.nodeType === Node.TEXT_NODE && behind.data.match(/^[.,;:!?)\]”’]+/)?.[0];
    if (!signs) continue;
    behind.data = behind.data.slice(signs.length);
    const line = document.createElement("span");
    line.className = "one-line";
    formula.before(line);
    line.append(formula, signs);
  }
});

// An old address leads to where its part stands now: the build gives a page the moves that concern it as data.
addEventListener("DOMContentLoaded", () => {
  const data = document.getElementById("moved-parts");
  if (!data) return;
  const moved = JSON.parse(data.textContent);
  const follow = () => {
    const part = decodeURIComponent(location.hash.slice(1));
    const to = document.getElementById(part) ? undefined : moved[part] ?? moved[""];
    if (to === undefined) return;
    const there = new URL(to, location.href);
    if (!there.hash) there.hash = moved[part] === undefined ? part : "";
    location.replace(there);
  };
  addEventListener("hashchange", follow);
  follow();
});

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

// Code is folded. A button in the page's head opens all of it, here and on the pages read later; a link to a
// check, or to code, opens the code that it belongs to.
addEventListener("DOMContentLoaded", () => {
  const folds = [...document.querySelectorAll("details.hide")];
  const head = document.querySelector(".article-header-buttons");
  const remembered = () => {
    try {
      return localStorage.getItem("ssl-theory-code") === "open";
    } catch {
      return false; // a browser that keeps nothing
    }
  };
  const show = (open) => {
    document.documentElement.dataset.code = open ? "open" : "folded";
    for (const fold of folds) fold.open = open;
  };
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const own = /^(check|code)-/.test(target.id) && target.closest(".cell")?.querySelector("details.hide");
    if (own) own.open = true;
    for (let e = target.closest("details"); e; e = e.parentElement.closest("details")) e.open = true;
    target.scrollIntoView();
  };
  if (folds.length && head) {
    const button = document.createElement("button");
    button.className = "btn btn-sm code-switch";
    button.type = "button";
    button.textContent = "Code";
    const set = (open) => {
      show(open);
      button.setAttribute("aria-pressed", open);
      button.title = `${open ? "Fold" : "Open"} the code of this page and of those read later`;
    };
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-pressed") !== "true";
      set(open);
      try {
        localStorage.setItem("ssl-theory-code", open ? "open" : "folded");
      } catch {} // this page alone, then
    });
    set(remembered());
    head.prepend(button);
  }
  addEventListener("hashchange", reveal);
  reveal();
});

// A statement's own link is copied when it is followed, and a button copies its entry for BibTeX.
addEventListener("DOMContentLoaded", () => {
  const said = document.createElement("span");
  said.className = "copied";
  said.setAttribute("role", "status");
  const copy = async (text, place, what) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const field = document.createElement("textarea"); // where the browser keeps the clipboard from pages
      field.value = text;
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
    place.after(said);
    said.textContent = "";
    requestAnimationFrame(() => (said.textContent = ` ${what} copied`));
  };
  for (const link of document.querySelectorAll("a.copy-link")) {
    link.title = "Copy the address of this statement";
    link.addEventListener("click", () => copy(link.href, link, "address"));
  }
  for (const fold of document.querySelectorAll("details.cite")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-sm";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy the entry for BibTeX: ${fold.querySelector("summary").textContent}`);
    button.addEventListener("click", () => copy(fold.querySelector("pre").textContent, button, "entry"));
    fold.append(button);
  }
});

// Pointing at a link to a statement or a term shows it, where the browser lets a page read others.
addEventListener("DOMContentLoaded", () => {
  const box = document.createElement("div");
  box.className = "preview bd-article";
  box.hidden = true;
  box.setAttribute("aria-hidden", "true"); // the link leads there; nothing is lost without it
  document.body.append(box);
  const pages = new Map([[location.pathname, Promise.resolve(document)]]);
  const page = (link) => {
    if (!pages.has(link.pathname))
      pages.set(link.pathname, fetch(link.pathname).then(async (found) =>
        new DOMParser().parseFromString(await found.text(), "text/html")));
    return pages.get(link.pathname);
  };
  const subject = (target) => {
    const shown = target?.matches("dt") ? target.nextElementSibling : target;
    if (!shown?.matches("div.proof, dd")) return null;
    const copy = shown.cloneNode(true);
    for (const e of copy.querySelectorAll(".relation, .headerlink, script")) e.remove();
    for (const e of [copy, ...copy.querySelectorAll("[id]")]) e.removeAttribute("id");
    return copy;
  };
  const show = async (link) => {
    const copy = subject((await page(link)).getElementById(decodeURIComponent(link.hash.slice(1))));
    if (!copy || link !== wanted) return;
    box.replaceChildren(copy);
    box.hidden = false;
    if (!copy.querySelector("mjx-container")) await window.MathJax?.typesetPromise?.([box]);
    const at = link.getBoundingClientRect();
    const below = at.bottom + box.offsetHeight + 12 < innerHeight || at.top < box.offsetHeight + 12;
    box.style.left = `${Math.max(8, Math.min(at.left, innerWidth - box.offsetWidth - 16)) + scrollX}px`;
    box.style.top = `${(below ? at.bottom + 6 : at.top - box.offsetHeight - 6) + scrollY}px`;
  };
  let wanted = null;
  const want = (event) => {
    if (event.pointerType === "touch") return; // a tap follows the link
    const link = event.target.closest?.("main a.internal[href*='#']");
    if (link === wanted || (link && event.type === "focusin" && !link.matches(":focus-visible"))) return;
    wanted = link;
    box.hidden = true;
    if (link?.origin === location.origin) setTimeout(() => link === wanted && show(link).catch(() => {}), 250);
  };
  addEventListener("pointerover", want);
  addEventListener("focusin", want);
  addEventListener("keydown", (event) => event.key === "Escape" && (box.hidden = true));
  addEventListener("resize", () => ((wanted = null), (box.hidden = true))); // the link is elsewhere now
});

// Search shows prose, not code, and puts first the page that has all words in its title, and the chapter whose
// theorem has; the glossary and the reference come after.
// On the document, whose listeners come before the window's: the search itself starts with the next of them.
document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined" || typeof Scorer === "undefined") return;
  const split = (text) => text.toLowerCase().match(/[\p{L}\d]{3,}/gu) || [];
  const asked = (new URLSearchParams(location.search).get("q") || "").trim().toLowerCase();
  const words = split(asked).map((w) => w.replace(/(ies|es|s)$/, ""));
  const titles = JSON.parse(document.getElementById("theorem-titles")?.textContent ?? "{}");
  const text = Search.htmlToText;
  const field = document.createElement("textarea"); // knows signs by the names that TeX has for them, too: &tau;
  const sign = (command, name) => {
    field.innerHTML = `&${name};`;
    return /^&/.test(field.value) ? (/^(log|exp|max|min|tanh)$/.test(name) ? name : "") : field.value;
  };
  const spoken = (tex) =>
    tex.replace(/\\[()]/g, "").replace(/\\([A-Za-z]+)/g, sign).replace(/\\[^{}]/g, " ").replace(/[\\{}_^&~]/g, "");
  Search.htmlToText = (page, anchor) => {
    const shown = new DOMParser().parseFromString(page, "text/html");
    const article = shown.querySelector("article.bd-article");
    if (article) shown.querySelector("[role=main]")?.replaceChildren(article); // without the page's contents
    const silent = "h1, details.hide, div.highlight, div.math, p.check, .chapter-facts, .relation, .headerlink";
    for (const e of shown.querySelectorAll(`${silent}, .ssl-control-inputs, .ssl-control-said`)) e.remove();
    for (const e of shown.querySelectorAll("td, th, summary")) e.append(" ");
    return text(shown.documentElement.outerHTML, anchor)?.replace(/\\\(.*?\\\)/gs, spoken);
  };
  const share = (title) => {
    if (title.toLowerCase() === asked) return 2;
    const has = words.length && words.every((word) => title.toLowerCase().includes(word));
    return has ? words.length / split(title).length : 0;
  };
  Scorer.score = (found) => {
    found[1] = found[1].replace(/(?<=> )\s*\((.*)\)$/, "$1"); // a statement, whose number is no part of its title
    const [page, title, anchor, , score] = found;
    const own = share(title.split(" > ")[0]) ? 30 : 0;
    const stated = anchor ? 0 : Math.max(0, ...(titles[page] ?? []).map(share));
    return score + own + (stated && 20 + 40 * stated) - (/^(api\/|glossary$)/.test(page) ? 80 : 0);
  };
});
