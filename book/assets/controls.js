// Draws the book's controls: scenes, which are plain data, as SVG in the page's own letters and colours. A control
// holds the scenes of all its positions, or names a function of compute.js that finds the numbers of its scene.
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const LINE = 16, GAP = 18, NARROW = 200;

  // Elements, colours, letters ---------------------------------------------------------------------------------

  const make = (parent, name, attributes = {}, style = {}) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    Object.assign(element.style, style);
    parent.append(element);
    return element;
  };
  const at = (value, index) => (Array.isArray(value) ? value[index] : value);
  const list = (value) => (Array.isArray(value) ? value : value === null ? [] : [value]);
  const paint = (name) => `var(--scene-${name})`;
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  const shade = (value, low, high, scale) => {
    if (value === null) return "var(--scene-paper)";
    const share = clamp((value - low) / (high - low), 0, 1);
    const side = scale === "sequential" ? share : Math.abs(2 * share - 1);
    const name = scale === "sequential" || share < 0.5 ? "blue" : "vermilion";
    return `color-mix(in srgb, var(--scene-${name}) ${(100 * side).toFixed(1)}%, var(--scene-paper))`;
  };

  // Numbers as Python writes them, with a true minus sign.
  const general = (value, precision) => {
    if (value === 0) return "0";
    const [digits, exponent] = value.toExponential(Math.max(precision, 1) - 1).split("e");
    const power = Number(exponent);
    if (power >= -4 && power < Math.max(precision, 1)) {
      const text = value.toFixed(Math.max(Math.max(precision, 1) - 1 - power, 0));
      return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
    }
    return (digits.includes(".") ? digits.replace(/\.?0+$/, "") : digits) + scientific(power);
  };
  const scientific = (power) => `e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  const format = (value, form) => {
    if (typeof value === "string") return value;
    const [, sign, digits, kind] = /^(\+?)(?:\.(\d+))?([dfge%]?)$/.exec(form || "g");
    const precision = digits === undefined ? 6 : Number(digits);
    let text = general(value, precision);
    if (kind === "d") text = String(Math.round(value));
    if (kind === "f") text = value.toFixed(precision);
    if (kind === "%") text = `${(100 * value).toFixed(precision)}\u202f%`;
    if (kind === "e") {
      const [mantissa, power] = value.toExponential(precision).split("e");
      text = mantissa + scientific(Number(power));
    }
    return (sign && value >= 0 ? "+" : "") + text.replace(/-/g, "−");
  };
  const fill = (text, values) =>
    text.replace(/\{(\w+)(?::([^}]*))?\}/g, (_, name, form) => format(values[name], form));

  // A scene with named values in their places.
  const put = (data, values) => {
    if (Array.isArray(data)) return data.map((part) => put(part, values));
    if (data && typeof data === "object")
      return Object.fromEntries(Object.entries(data).map(([key, part]) => [key, put(part, values)]));
    if (typeof data !== "string") return data;
    return data.startsWith("@") ? values[data.slice(1)] : fill(data, values);
  };
  // A scene of one position out of those of all.
  const pick = (data, pool, places) => {
    if (Array.isArray(data)) return data.map((part) => pick(part, pool, places));
    if (!data || typeof data !== "object") return data;
    const keys = Object.keys(data);
    if (keys.length === 1 && keys[0] === "$") return pool[places[data.$]];
    return Object.fromEntries(keys.map((key) => [key, pick(data[key], pool, places)]));
  };

  // A label is a text or runs of letters in one style.
  const spell = (label) => (typeof label === "string" ? [[label, ""]] : label);
  const pen = document.createElement("canvas").getContext("2d");
  const length = (label, size, family) =>
    spell(label).reduce((sum, [text, style]) => {
      pen.font = `${/^su[bp]/.test(style) ? 0.75 * size : size}px ${family}`;
      return sum + pen.measureText(text).width;
    }, 0);
  const write = (parent, label, x, y, { anchor = "start", size = 12.5, colour = "ink", className = "" } = {}) => {
    const element = make(parent, "text", { x, y, "text-anchor": anchor, class: className }, { fontSize: `${size}px`, fill: paint(colour) });
    let lift = 0;
    for (const [text, style] of spell(label)) {
      const wanted = style.startsWith("sub") ? 0.25 * size : style.startsWith("sup") ? -0.38 * size : 0;
      const part = make(element, "tspan", { dy: wanted - lift }, {
        fontStyle: style.endsWith("i") ? "italic" : "normal",
        fontSize: style.startsWith("su") ? `${0.75 * size}px` : `${size}px`,
      });
      part.textContent = text;
      lift = wanted;
    }
    return element;
  };

  // Axes -------------------------------------------------------------------------------------------------------

  const scaleOf = (limits, log, from, to) => {
    const [low, high] = log ? limits.map(Math.log10) : limits;
    return (value) => (value === null ? null : from + ((log ? Math.log10(value) : value) - low) / (high - low) * (to - from));
  };
  const neat = (value) => String(Number(value.toPrecision(10))).replace("-", "−");
  const powerOfTen = (power) =>
    power >= -2 && power <= 3 ? String(10 ** power).slice(0, power < 0 ? 2 - power : undefined)
      : [["10", ""], [String(power).replace("-", "−"), "sup"]];
  const ticksOf = (limits, log, given, room) => {
    if (given) return given.map((tick) => (Array.isArray(tick) ? tick : [tick, neat(tick)]));
    const [low, high] = [Math.min(...limits), Math.max(...limits)];
    const ticks = [];
    if (log) {
      const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
      if (last > first) {
        const every = Math.max(1, Math.ceil((last - first) / Math.max(1, room)));
        for (let power = first; power <= last; power += every) ticks.push([10 ** power, powerOfTen(power)]);
        return ticks;
      }
      for (let power = first - 1; power <= last; power++)
        for (const digit of [1, 2, 5])
          if (digit * 10 ** power >= low && digit * 10 ** power <= high) ticks.push([digit * 10 ** power, neat(digit * 10 ** power)]);
      return ticks;
    }
    const rough = (high - low) / Math.max(1, room), power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) ticks.push([k * step, neat(k * step)]);
    return ticks;
  };

  // Marks ------------------------------------------------------------------------------------------------------

  const DASH = { solid: "none", dashed: "6 4", dotted: "1.5 3.5" };
  const stroke = (mark, extra = {}) => ({ stroke: paint(mark.colour), strokeWidth: mark.width, strokeDasharray: DASH[mark.dash], fill: "none", ...extra });
  const track = (places) => {
    let path = "", open = false;
    for (const [x, y] of places) {
      if (x === null || y === null || !Number.isFinite(x) || !Number.isFinite(y)) open = false;
      else { path += `${open ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`; open = true; }
    }
    return path;
  };
  const outline = (shape, x, y, r) => {
    if (shape === "square") return `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}z`;
    if (shape === "diamond") return `M${x} ${y - 1.25 * r}l${1.25 * r} ${1.25 * r}l${-1.25 * r} ${1.25 * r}l${-1.25 * r} ${-1.25 * r}z`;
    if (shape === "plus") return `M${x - r} ${y}h${2 * r}M${x} ${y - r}v${2 * r}`;
    if (shape === "cross") return `M${x - r} ${y - r}l${2 * r} ${2 * r}M${x - r} ${y + r}l${2 * r} ${-2 * r}`;
    return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`;
  };
  const dot = (parent, shape, x, y, size, colour) => {
    const open = shape === "plus" || shape === "cross";
    make(parent, "path", { d: outline(shape, x, y, size / 2) }, open ? { stroke: paint(colour), strokeWidth: 1.8, fill: "none" } : { fill: paint(colour) });
  };

  const draw = {
    line({ group, X, Y }, mark) {
      make(group, "path", { d: track(mark.x.map((x, i) => [X(x), Y(at(mark.y, i))])) }, stroke(mark));
    },
    points({ group, X, Y }, mark) {
      list(mark.x).forEach((x, i) => {
        const y = at(mark.y, i);
        if (x !== null && y !== null) dot(group, mark.shape, X(x), Y(y), at(mark.size, i), at(mark.colour, i));
      });
    },
    bars({ group, X, Y, panel }, mark) {
      list(mark.x).forEach((x, i) => {
        const [base, height] = [at(mark.base, i), at(mark.height, i)];
        if (height === null) return;
        const floor = panel.ylog ? Math.min(...panel.ylim) : base;
        const [left, right] = [X(x - mark.width / 2), X(x + mark.width / 2)];
        const [low, high] = [Y(floor), Y(base + height)];
        make(group, "rect", { x: Math.min(left, right), y: Math.min(low, high), width: Math.abs(right - left), height: Math.abs(high - low) }, { fill: paint(at(mark.colour, i)) });
      });
    },
    area({ group, X, Y }, mark) {
      let run = [];
      const close = () => {
        if (run.length > 1) {
          const back = run.map(([x, low]) => [x, low]).reverse();
          make(group, "path", { d: `${track([...run.map(([x, , high]) => [x, high]), ...back])}z` }, { fill: paint(mark.colour), fillOpacity: mark.opacity });
        }
        run = [];
      };
      mark.x.forEach((x, i) => {
        const [low, high] = [at(mark.low, i), at(mark.high, i)];
        if (x === null || low === null || high === null) close();
        else run.push([X(x), Y(low), Y(high)]);
      });
      close();
    },
    rule({ group, X, Y, box }, mark) {
      for (const x of list(mark.x)) make(group, "line", { x1: X(x), x2: X(x), y1: box.top, y2: box.bottom }, stroke(mark));
      for (const y of list(mark.y)) make(group, "line", { y1: Y(y), y2: Y(y), x1: box.left, x2: box.right }, stroke(mark));
    },
    text({ over, X, Y }, mark) {
      list(mark.x).forEach((x, i) => {
        const text = typeof mark.text === "string" || (Array.isArray(mark.text) && Array.isArray(mark.text[0])) ? mark.text : at(mark.text, i);
        write(over, typeof text === "number" ? neat(text) : text, X(x), Y(at(mark.y, i)) + 4, { anchor: "middle", size: 12, colour: at(mark.colour, i) });
      });
    },
    arrows({ group, X, Y }, mark) {
      list(mark.x).forEach((x, i) => {
        const [y, dx, dy, colour] = [at(mark.y, i), at(mark.dx, i), at(mark.dy, i), paint(at(mark.colour, i))];
        if (x === null || y === null || dx === null || dy === null) return;
        const [a, b, c, d] = [X(x), Y(y), X(x + dx), Y(y + dy)];
        const size = Math.hypot(c - a, d - b);
        if (size < 0.5) return;
        const [u, v] = [(c - a) / size, (d - b) / size], head = Math.min(10, 0.6 * size), half = 0.45 * head;
        make(group, "line", { x1: a, y1: b, x2: c - 0.8 * head * u, y2: d - 0.8 * head * v }, { stroke: colour, strokeWidth: mark.width });
        make(group, "path", { d: `M${c} ${d}L${c - head * u - half * v} ${d - head * v + half * u}L${c - head * u + half * v} ${d - head * v - half * u}z` }, { fill: colour });
      });
    },
    grid({ group, X, Y }, mark) {
      const [left, bottom, right, top] = mark.box, rows = mark.values.length, columns = mark.values[0].length;
      const [x0, x1, y0, y1] = [X(left), X(right), Y(top), Y(bottom)];
      mark.values.forEach((row, i) => row.forEach((value, j) => {
        if (value === null) return;
        make(group, "rect", { x: x0 + (j * (x1 - x0)) / columns, y: y0 + (i * (y1 - y0)) / rows, width: Math.abs(x1 - x0) / columns + 0.3, height: Math.abs(y1 - y0) / rows + 0.3, "shape-rendering": "crispEdges" },
          { fill: shade(value, mark.low, mark.high, mark.scale) });
      }));
    },
    nodes({ over, X, Y, act }, mark) {
      const leaves = mark.parents.filter((_, node) => !mark.parents.includes(node)).length;
      const r = clamp((0.42 * Math.abs(X(1) - X(0)) * (Math.max(...mark.x) || 1)) / Math.max(leaves - 1, 1), 3.5, 11);
      mark.parents.forEach((parent, node) => {
        if (parent < 0) return;
        const width = at(mark.widths, node);
        make(over, "line", { x1: X(mark.x[parent]), y1: Y(mark.y[parent]), x2: X(mark.x[node]), y2: Y(mark.y[node]) },
          { stroke: paint("grey"), strokeWidth: Math.max(4 * Math.abs(width), 0.3), strokeDasharray: width < 0 ? "5 3" : "none" });
      });
      mark.parents.forEach((_, node) => {
        const value = at(mark.values, node), ring = mark.rings.includes(node), k = mark.click.indexOf(node);
        const circle = make(over, "circle", { cx: X(mark.x[node]), cy: Y(mark.y[node]), r },
          { fill: shade(value, mark.low, mark.high, mark.scale), stroke: paint(ring ? "vermilion" : "ink"), strokeWidth: ring ? 2.6 : 1 });
        const text = typeof mark.text === "string" ? mark.text : mark.text[node];
        if (text !== "") write(over, String(text), X(mark.x[node]), Y(mark.y[node]) + 3.5, { anchor: "middle", size: Math.min(11, 1.2 * r) }).style.pointerEvents = "none";
        if (k >= 0) {
          const wide = make(over, "circle", { cx: X(mark.x[node]), cy: Y(mark.y[node]), r: Math.max(r, 14), class: "ssl-click" }, { fill: "transparent" });
          wide.addEventListener("click", () => act.toggle(mark.toggles, k));
          circle.classList.add("ssl-clicked");
        }
      });
    },
    handle({ over, svg, X, Y, act }, mark) {
      const place = () => (mark.across ? [mark.x[act.index(mark.along)], mark.y[act.index(mark.across)]] : [mark.x[act.index(mark.along)], mark.y[act.index(mark.along)]]);
      const [x, y] = place();
      make(over, "circle", { cx: X(x), cy: Y(y), r: 9, class: "ssl-grip" }, { fill: paint(mark.colour), fillOpacity: 0.25, stroke: "none" });
      make(over, "circle", { cx: X(x), cy: Y(y), r: 5, class: "ssl-grip" }, { fill: paint(mark.colour), stroke: "var(--scene-paper)", strokeWidth: 1.5 });
      const nearest = (places, value) => places.reduce((best, place, k) => (Math.abs(place - value) < Math.abs(places[best] - value) ? k : best), 0);
      svg.classList.add("ssl-drag");
      svg.addEventListener("pointerdown", (event) => {
        act.drag(event.pointerId, (down) => {
          const frame = svg.isConnected ? svg.getBoundingClientRect() : act.frame(svg);
          const [px, py] = [down.clientX - frame.left, down.clientY - frame.top];
          if (mark.across) return { [mark.along]: nearest(mark.x.map(X), px), [mark.across]: nearest(mark.y.map(Y), py) };
          const away = mark.x.map((value, k) => Math.hypot(X(value) - px, 0.5 * (Y(mark.y[k]) - py)));
          return { [mark.along]: away.indexOf(Math.min(...away)) };
        });
        act.moved(event);
        event.preventDefault();
      });
    },
  };

  // Panels -----------------------------------------------------------------------------------------------------

  const SAMPLE = 26;
  const legendOf = (panel) => panel.marks.filter((mark) => mark.label && mark.label.length && mark.kind !== "nodes" && mark.kind !== "grid");
  const barOf = (panel) => panel.marks.find((mark) => (mark.kind === "nodes" || mark.kind === "grid") && mark.label && mark.label.length);

  // Places of the legend's entries in rows of a width.
  const rowsOf = (panel, width, family) => {
    const rows = [];
    let row = [], used = 0;
    for (const mark of legendOf(panel)) {
      const room = SAMPLE + length(mark.label, 12.5, family) + 16;
      if (row.length && used + room > width) { rows.push(row); row = []; used = 0; }
      row.push([mark, used]);
      used += room;
    }
    return row.length ? [...rows, row] : rows;
  };
  const sample = (parent, mark, x, y) => {
    const colour = at(mark.colour, 0);
    if (mark.kind === "points") dot(parent, mark.shape, x + 9, y, Math.min(9, at(mark.size, 0)), colour);
    else if (mark.kind === "bars") make(parent, "rect", { x, y: y - 5, width: 18, height: 10 }, { fill: paint(colour) });
    else if (mark.kind === "area") make(parent, "rect", { x, y: y - 5, width: 18, height: 10 }, { fill: paint(colour), fillOpacity: mark.opacity });
    else if (mark.kind === "arrows") draw.arrows({ group: parent, X: (v) => v, Y: (v) => v }, { ...mark, x: [x], y: [y], dx: [19], dy: [0] });
    else make(parent, "line", { x1: x, x2: x + 19, y1: y, y2: y }, stroke(mark));
  };
  // A title in lines that fit a width, broken at spaces.
  const linesOf = (label, width, family) => {
    const words = spell(label).flatMap(([text, style]) => (style ? [[text, style]] : text.split(/(?<= )/).map((word) => [word, ""])));
    const lines = [];
    let line = [];
    for (const word of words) {
      if (line.length && word[0].length && length([...line, word], 13.5, family) > width && line.at(-1)[0].endsWith(" ")) { lines.push(line); line = []; }
      line.push(word);
    }
    return label.length ? [...lines, line] : [];
  };
  const topOf = (panel, width, family) =>
    (panel.title.length ? LINE * linesOf(panel.title, width, family).length + 6 : 0) + rowsOf(panel, width, family).length * GAP + (panel.axes && panel.y.length ? GAP + 6 : 6);

  const belowOf = (panel) => (panel.axes ? 22 + (panel.x.length ? LINE : 0) : 6) + (barOf(panel) ? 34 : 0);
  const spanOf = (limits) => Math.abs(limits[1] - limits[0]);

  const drawPanel = (svg, panel, number, width, height, top, family, act) => {
    const bar = barOf(panel), below = belowOf(panel);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const box = { left: 6, right: width - 8, top, bottom: height - below };
    const ticksY = panel.axes ? ticksOf(panel.ylim, panel.ylog, panel.yticks, (box.bottom - box.top) / 42) : [];
    if (panel.axes) box.left = 12 + Math.max(14, ...ticksY.map(([, label]) => length(label, 12, family)));
    if (panel.equal) {
      const unit = Math.min((box.right - box.left) / spanOf(panel.xlim), (box.bottom - box.top) / spanOf(panel.ylim));
      const [w, h] = [unit * spanOf(panel.xlim), unit * spanOf(panel.ylim)];
      box.left += (box.right - box.left - w) / 2;
      Object.assign(box, { right: box.left + w, bottom: box.top + h });
    }
    const [X, Y] = [scaleOf(panel.xlim, panel.xlog, box.left, box.right), scaleOf(panel.ylim, panel.ylog, box.bottom, box.top)];
    let line = 0;
    for (const part of linesOf(panel.title, width, family))
      write(svg, part, panel.axes ? 2 : width / 2, (line += LINE) - 3, { className: "ssl-title", size: 13, anchor: panel.axes ? "start" : "middle" });
    if (panel.title.length) line += 6;
    for (const row of rowsOf(panel, width, family)) {
      for (const [mark, x] of row) {
        sample(svg, mark, x + 2, line + 8);
        write(svg, mark.label, x + SAMPLE, line + 12);
      }
      line += GAP;
    }
    if (panel.axes) {
      if (panel.y.length) write(svg, panel.y, 2, top - 11);
      const frame = make(svg, "g");
      for (const [value, label] of ticksY) {
        const y = Y(value);
        if (y < box.top - 1 || y > box.bottom + 1) continue;
        make(frame, "line", { x1: box.left, x2: box.right, y1: y, y2: y }, { stroke: "var(--scene-rule)" });
        write(frame, label, box.left - 6, y + 4, { anchor: "end", size: 12, colour: "muted" });
      }
      let free = -Infinity;
      for (const [value, label] of ticksOf(panel.xlim, panel.xlog, panel.xticks, (box.right - box.left) / 62)) {
        const x = X(value), half = length(label, 12, family) / 2;
        if (x < box.left - 1 || x > box.right + 1 || x - half < free) continue;
        free = x + half + 4;
        make(frame, "line", { x1: x, x2: x, y1: box.bottom, y2: box.bottom + 4 }, { stroke: paint("muted") });
        write(frame, label, clamp(x, half, width - half), box.bottom + 17, { anchor: "middle", size: 12, colour: "muted" });
      }
      make(frame, "line", { x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }, { stroke: paint("muted") });
      if (panel.x.length) {
        const half = length(panel.x, 12.5, family) / 2;
        write(frame, panel.x, clamp((box.left + box.right) / 2, half, width - half), box.bottom + 34, { anchor: "middle" });
      }
    }
    const clip = `ssl-clip-${act.key}-${number}`;
    make(make(svg, "clipPath", { id: clip }), "rect", { x: box.left - 1, y: box.top - 1, width: Math.max(0, box.right - box.left + 2), height: Math.max(0, box.bottom - box.top + 2) });
    const group = make(svg, "g", { "clip-path": `url(#${clip})` }), over = make(svg, "g");
    for (const mark of panel.marks) draw[mark.kind]({ svg, group, over, X, Y, box, panel, act }, mark);
    if (bar) {
      const [wide, y] = [Math.min(200, width - 20), height - 30], left = (width - wide) / 2;
      for (let k = 0; k < 40; k++)
        make(svg, "rect", { x: left + (k * wide) / 40, y, width: wide / 40 + 0.5, height: 7 }, { fill: shade(bar.low + ((k + 0.5) / 40) * (bar.high - bar.low), bar.low, bar.high, bar.scale) });
      write(svg, neat(bar.low), left - 5, y + 8, { anchor: "end", size: 12, colour: "muted" });
      write(svg, neat(bar.high), left + wide + 5, y + 8, { size: 12, colour: "muted" });
      write(svg, bar.label, width / 2, y + 22, { anchor: "middle" });
    }
  };

  const drawScene = (place, scene, act) => {
    const room = place.clientWidth, family = getComputedStyle(place).fontFamily;
    if (!room) return;
    const stacked = room < NARROW * scene.panels.length, total = scene.widths.reduce((a, b) => a + b, 0);
    const widths = scene.panels.map((_, i) => (stacked ? room : ((room - GAP * (scene.panels.length - 1)) * scene.widths[i]) / total));
    const tops = scene.panels.map((panel, i) => topOf(panel, widths[i], family)), highest = Math.max(...tops);
    const drawn = scene.panels.map((panel, i) => {
      const top = stacked ? tops[i] : highest;
      const square = (widths[i] * spanOf(panel.ylim)) / spanOf(panel.xlim) + belowOf(panel);
      const wanted = panel.equal ? Math.min(scene.height, square) : scene.height;
      const height = Math.round(wanted + top);
      const svg = document.createElementNS(SVG, "svg");
      svg.setAttribute("width", widths[i]);
      svg.setAttribute("height", height);
      svg.setAttribute("aria-hidden", "true");
      drawPanel(svg, panel, i, widths[i], height, top, family, act);
      return svg;
    });
    place.replaceChildren(...drawn);
  };

  // Controls ---------------------------------------------------------------------------------------------------

  const setUp = (box, key) => {
    const data = JSON.parse(box.querySelector('script[type="application/json"]').textContent);
    const place = box.querySelector(".ssl-scene"), said = box.querySelector(".ssl-control-said");
    const fields = (name) => [...box.querySelectorAll(`[data-input="${name}"]`)];
    let dragged = null, telling = 0, framed = 0;

    const index = (name) => {
      const found = fields(name);
      return Number(found[0].type === "range" ? found[0].value : found.find((field) => field.checked).value);
    };
    const valueOf = (input) => (input.kind === "toggles" ? fields(input.name).map((field) => Number(field.checked)) : input.values[index(input.name)]);
    const position = () => Object.fromEntries(data.inputs.map((input) => [input.name, valueOf(input)]));
    const sceneNow = () => {
      if (!data.compute) {
        const k = data.inputs.reduce((sum, input) => sum * input.values.length + index(input.name), 0);
        return pick(data.scene, data.pool, data.at[k] || []);
      }
      const point = position(), values = window.sslCompute.pictures[data.compute](point, data.data);
      return put(data.scene, { ...point, ...values });
    };

    const act = {
      key,
      index,
      toggle: (name, k) => { fields(name)[k].checked ^= 1; show(); },
      drag: (pointer, find) => { dragged = { pointer, find }; },
      frame: (svg) => place.children[Math.max(0, act.order.indexOf(svg))].getBoundingClientRect(),
      order: [],
      moved: (event) => {
        if (!dragged || event.pointerId !== dragged.pointer) return;
        for (const [name, k] of Object.entries(dragged.find(event))) fields(name)[0].value = k;
        show();
      },
    };
    const show = () => {
      for (const input of data.inputs.filter(({ kind }) => kind === "slider")) {
        const [slider] = fields(input.name), text = input.texts[slider.value];
        slider.setAttribute("aria-valuetext", text);
        slider.parentElement.querySelector("output").textContent = text;
      }
      const scene = sceneNow();
      const before = place.getAttribute("aria-label");
      place.setAttribute("aria-label", scene.alt);
      drawScene(place, scene, act);
      if (before === null || before === scene.alt) return;
      clearTimeout(telling);
      telling = setTimeout(() => { said.textContent = scene.alt; }, 600);
    };

    box.addEventListener("input", show);
    place.addEventListener("pointerdown", () => { act.order = [...place.children]; }, true);
    addEventListener("pointermove", act.moved);
    for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => { dragged = null; });
    let width = 0;
    new ResizeObserver(() => {
      if (Math.abs(place.clientWidth - width) < 1) return;
      width = place.clientWidth;
      cancelAnimationFrame(framed);
      framed = requestAnimationFrame(show);
    }).observe(place);
    show();
    document.fonts.ready.then(show);  // lines were broken by the width of other letters
    box.sslControl = { data, sceneNow, position };
  };
  const start = () => document.querySelectorAll(".ssl-control").forEach(setUp);
  window.sslScenes = { format, fill, put, pick };
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", start);
  else start();
})();
