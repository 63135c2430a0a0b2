// Words of the article that stand out from their ground by less than 4.5 : 1 (WCAG 2, level AA).
() => {
  const channels = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
    return { rgb: [r, g, b], a };
  };
  const over = (top, below) => top.rgb.map((c, i) => top.a * c + (1 - top.a) * below[i]);
  const ground = (e) => {
    if (!e) return matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
    const own = channels(getComputedStyle(e).backgroundColor);
    return own.a === 1 ? own.rgb : over(own, ground(e.parentElement));
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = (e) => {
    const below = ground(e);
    const [a, b] = [light(over(channels(getComputedStyle(e).color), below)), light(below)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05) < 4.5;
  };
  const main = document.querySelector("main article") || document.querySelector("main") || document.body;
  return [...main.querySelectorAll("p, li, td, th, dd, dt, figcaption, label, output, h1, h2, h3, mjx-container, a, span")]
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || e.matches("mjx-container"))
    .filter((e) => e.getClientRects().length && !e.closest("pre, button") && faint(e))
    .map((e) => `${e.tagName.toLowerCase()}.${e.className}: ${e.textContent.trim().slice(0, 60)}`);
}
