"use strict";

// Tables are whole without this script; it sorts and filters them, switches currency and theme, and draws figures.
window.benchbench = (() => {
  const root = document.documentElement;
  const folder = document.currentScript.dataset.root;
  const byId = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Sorting: numbers by what they are, texts as a reader would; what has no value stays at the end.
  const valueOf = (row, column, kind) => {
    const cell = row.cells[column];
    if (kind !== "number") return cell.textContent.trim();
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };

  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));

  const sort = (header) => {
    const table = header.closest("table");
    const down = header.getAttribute("aria-sort") === "ascending";
    const column = header.cellIndex;
    const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, column, header.dataset.kind), row]);
    const known = rows.filter(([value]) => value !== null && value !== "");
    const rest = rows.filter(([value]) => value === null || value === "");
    known.sort(([a], [b]) => (down ? compare(b, a) : compare(a, b)));
    table.tBodies[0].append(...[...known, ...rest].map(([, row]) => row));
    for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
  };

  for (const button of all("table.sortable thead button")) {
    button.addEventListener("click", () => sort(button.closest("th")));
  }

  // Filters.
  const filter = () => {
    const category = byId("category").value;
    const words = byId("search").value.trim().toLowerCase();
    const methods = new Set();
    for (const row of all("tr[data-method]")) {
      const here = (!category || row.dataset.category === category) && row.dataset.method.toLowerCase().includes(words);
      row.hidden = !here;
      if (here) methods.add(row.dataset.method);
    }
    const chosen = byId("workload").value;
    for (const board of all(".board")) board.hidden = Boolean(chosen) && board.id !== chosen;
    byId("shown").textContent = category || words ? `${methods.size} method${methods.size === 1 ? "" : "s"} shown` : "";
  };

  for (const id of ["workload", "category"]) byId(id)?.addEventListener("change", filter);
  byId("search")?.addEventListener("input", filter);
  document.querySelector("form.controls")?.addEventListener("submit", (event) => event.preventDefault());

  const currency = byId("currency");
  const switchCurrency = () => {
    root.dataset.currency = currency.value;
    redraw();
  };
  currency?.addEventListener("change", switchCurrency);

  // Theme: the system's, until the reader chooses.
  const theme = byId("theme");
  const isDark = () => getComputedStyle(root).colorScheme === "dark";
  const nameTheme = () => { theme.textContent = isDark() ? "Light theme" : "Dark theme"; };
  theme.hidden = false;
  nameTheme();
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* not kept */ }
    nameTheme();
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { nameTheme(); redraw(); });

  // Figures: the library and the numbers are loaded when the first figure comes near the window.
  const data = {};
  const scripts = {};
  const load = (path) => (scripts[path] ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    Object.assign(script, { src: folder + path, onload: resolve, onerror: reject });
    document.head.append(script);
  }));

  const SYMBOLS = ["circle", "square", "diamond", "cross", "triangle-up", "star", "hexagon", "triangle-down"];
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const style = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const colour = (number) => style(`--c${number % 8}`);
  const dash = (number) => DASHES[Math.floor(number / 8) % DASHES.length];
  const faint = (hex, share) => hex + Math.round(share * 255).toString(16).padStart(2, "0");
  // The library reads some HTML in texts.
  const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const unit = () => byId("currency").selectedOptions[0].text;

  const axis = (title) => ({
    title: { text: title, standoff: 8 }, gridcolor: style("--line"), zerolinecolor: style("--line"), automargin: true,
  });

  const layout = (x, y) => ({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: style("--text"), size: 12 },
    margin: { l: 10, r: 10, t: 10, b: 10 }, xaxis: axis(x), yaxis: axis(y), hovermode: "closest",
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    hoverlabel: { bgcolor: style("--panel"), font: { color: style("--text") } },
  });

  const band = (x, curve, shade, group) => {
    const edges = [1, -1].map((sign) => curve.mean.map((value, i) => value + sign * curve.std[i]));
    return {
      x: [...x, ...[...x].reverse()], y: [...edges[0], ...edges[1].reverse()], fill: "toself",
      fillcolor: faint(shade, 0.15), line: { width: 0 }, mode: "lines", hoverinfo: "skip", showlegend: false, legendgroup: group,
    };
  };

  // Its name stands on the side of the line where the curves are, and so within the figure.
  const targetLine = (given) => (given.target === null ? [] : [{
    type: "line", xref: "paper", x0: 0, x1: 1, y0: given.target, y1: given.target,
    line: { color: style("--soft"), width: 1, dash: "dot" },
    label: { text: "target", textposition: "end", yanchor: given.methods.some((each) => each.curve?.mean.some((value) => value > given.target)) ? "bottom" : "top", font: { color: style("--soft"), size: 11 } },
  }]);

  const FIGURES = {
    pareto(given) {
      const shown = given.methods.filter((each) => each.value !== null && each.costs[currency.value] !== undefined);
      const front = shown.filter((each) => each.front.includes(currency.value));
      front.sort((a, b) => a.costs[currency.value] - b.costs[currency.value]);
      const traces = [{
        x: front.map((each) => each.costs[currency.value]), y: front.map((each) => each.value), mode: "lines",
        line: { color: style("--soft"), width: 1, dash: "dot" }, hoverinfo: "skip", showlegend: false,
      }];
      for (const each of shown) {
        const whole = each.interval ?? [each.value, each.value];
        traces.push({
          x: [each.costs[currency.value]], y: [each.value], name: plain(each.name), mode: "markers",
          marker: { color: colour(each.colour), size: 11, symbol: SYMBOLS[each.colour % SYMBOLS.length] },
          error_y: {
            type: "data", symmetric: false, array: [whole[1] - each.value], arrayminus: [each.value - whole[0]],
            color: colour(each.colour), thickness: 1.5, width: 4,
          },
        });
      }
      return [traces, layout(`${unit()} per run`, plain(given.metric))];
    },
    curves(given) {
      const traces = [];
      for (const { name, colour: number, curve } of given.methods) {
        if (!curve) continue;
        const x = curve.costs[currency.value];
        traces.push(band(x, curve, colour(number), name));
        traces.push({
          x, y: curve.mean, name: plain(name), legendgroup: name, mode: "lines+markers",
          line: { color: colour(number), width: 2, dash: dash(number) },
          marker: { size: 5, symbol: SYMBOLS[number % SYMBOLS.length] },
        });
      }
      return [traces, { ...layout(unit(), plain(given.curveMetric)), shapes: targetLine(given) }];
    },
    method(given, figure) {
      const { colour: number, curve } = given.methods.find((each) => each.name === figure.dataset.method);
      const traces = [];
      if (curve) {
        const x = curve.costs[currency.value];
        traces.push(band(x, curve, colour(number), "mean"));
        for (const [seed, values] of curve.seeds) {
          traces.push({ x, y: values, name: `seed ${seed}`, mode: "lines", line: { color: faint(colour(number), 0.55), width: 1 } });
        }
        traces.push({ x, y: curve.mean, name: "mean", legendgroup: "mean", mode: "lines", line: { color: colour(number), width: 3 } });
      }
      return [traces, { ...layout(unit(), plain(given.curveMetric)), shapes: targetLine(given) }];
    },
    profile(given) {
      const found = given.profiles[currency.value];
      const last = (found[0]?.shares.length ?? 2) - 1;
      const traces = found.map((each) => ({
        x: each.shares.map((_, i) => 1 + (3 * i) / last), y: each.shares, name: plain(each.name), mode: "lines",
        line: { color: colour(each.colour), width: 2, shape: "hv", dash: DASHES[each.colour % DASHES.length] },
      }));
      const made = layout("tau, times the lowest cost", "share of the workloads");
      made.yaxis.range = [-0.03, 1.03];
      return [traces, made];
    },
  };

  const draw = async (figure) => {
    const { plot, source } = figure.dataset;
    await Promise.all([load("assets/plotly.min.js"), load(`data/${source}.js`)]);
    const [traces, made] = FIGURES[plot](data[source], figure);
    const canvas = figure.querySelector(".canvas");
    await Plotly.react(canvas, traces, made, { displaylogo: false, responsive: true, displayModeBar: false });
    // The library measures texts in an element beside the page, which no reader is to come across.
    byId("js-plotly-tester")?.setAttribute("aria-hidden", "true");
    figure.dataset.drawn = "";
  };

  const redraw = () => { for (const figure of all("figure[data-drawn]")) draw(figure); };

  // Figures near the window are drawn one by one while the reader does not scroll, so that scrolling stays smooth.
  const waiting = new Set();
  let timer;
  const drawNext = async () => {
    const [figure] = waiting;
    if (!figure) return;
    waiting.delete(figure);
    near.unobserve(figure);
    await draw(figure);
    timer = setTimeout(drawNext);
  };
  const drawSoon = () => {
    clearTimeout(timer);
    timer = setTimeout(drawNext, 120);
  };
  const near = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target } of seen) waiting[isIntersecting ? "add" : "delete"](target);
    drawSoon();
  }, { rootMargin: "300px" });
  addEventListener("scroll", drawSoon, { passive: true });
  const watch = () => { for (const figure of all("figure.plot")) near.observe(figure); };
  // After the first paint, which is not to wait for several megabytes of library.
  if (document.readyState === "complete") watch(); else addEventListener("load", () => requestAnimationFrame(() => setTimeout(watch)));

  return { add(name, given) { data[name] = given; } };
})();
