/* emma-report.js - draws a report of a heap: charts by uPlot, and tables that Tablesort sorts. The map is
 * emma-report-map.js, which comes behind this one.
 *
 *     emmaReport.renderPage(report)            the whole page, from the JSON of a report
 *
 * The rest of what it returns at the end is for pages that show other figures in the same form.
 *
 * Text from a report is put in as text, never as markup. */
"use strict";
const emmaReport = (() => {
  const KIB = 1024;

  // ---- text ----

  function size(bytes) {
    if (bytes === null || bytes === undefined) return "none";
    const sign = bytes < 0 ? "-" : "";
    let amount = Math.abs(bytes), unit = 0;
    if (amount < KIB) return `${sign}${amount} bytes`;
    for (; amount >= KIB && unit < 6; unit++) amount /= KIB;
    return `${sign}${amount.toFixed(1)} ${"KMGTPE"[unit - 1]}iB`;
  }
  const sizeOrDash = bytes => bytes === null || bytes === undefined ? "--" : size(bytes);
  const exact = bytes => bytes === null || bytes === undefined ? "none" : `${bytes.toLocaleString("en")} bytes`;
  const count = number => number.toLocaleString("en");
  const signed = (number, text) => (number > 0 ? "+" : "") + text(number);
  const seconds = s => s >= 100 ? `${Math.round(s)} s` : s >= 1 ? `${+s.toPrecision(3)} s` : `${+(s * 1e3).toPrecision(3)} ms`;
  const share = (part, whole) => whole ? `${Math.round(100 * part / whole)} %` : "0 %";

  function add(parent, tag, properties = {}, text) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  }

  // ---- colours: those of the page, so that they follow its theme ----

  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  // ---- tables ----

  /* columns: { title, text(row), exact(row), sort(row), isText }. */
  function table(parent, caption, columns, rows, firstSorted) {
    const scroll = add(parent, "div", { class: "scroll" });
    const element = add(scroll, "table", { class: "figures" });
    add(element, "caption", {}, caption);
    const head = add(add(element, "thead"), "tr");
    for (const column of columns) {
      const cell = add(head, "th", { scope: "col", class: column.isText ? "text" : "number" }, column.title);
      if (!column.isText) cell.setAttribute("data-sort-method", "number");
    }
    const body = add(element, "tbody");
    for (const row of rows) {
      const line = add(body, "tr");
      for (const column of columns) {
        const cell = add(line, "td", { class: column.isText ? "text" : "number" });
        cell.append(column.text(row));
        if (column.exact) cell.title = column.exact(row);
        if (column.sort) cell.setAttribute("data-sort", column.sort(row));
      }
    }
    new Tablesort(element, { descending: true });
    if (firstSorted !== undefined) head.cells[firstSorted].setAttribute("aria-sort", "descending");
    return element;
  }
  const bytesColumn = (title, value) => ({ title, text: row => size(value(row)), exact: row => exact(value(row)), sort: value });
  const countColumn = (title, value) => ({ title, text: row => count(value(row)), sort: value });

  // ---- charts ----

  const POWERS = Array.from({ length: 44 }, (_, i) => 2 ** i);
  const redraws = [];

  /* A chart that is drawn anew when the theme or the width changes. The arrow keys move its cursor; `tell` puts what
   * is there into words. Returns { update(data) }. */
  function chart(parent, label, options, data, tell) {
    const element = add(parent, "div", { class: "chart", tabindex: "0", role: "group", "aria-label": `${label}. Arrow keys read it.` });
    const said = add(parent, "p", { class: "said", "aria-live": "polite" });
    let plot = null, at = -1;
    const draw = () => {
      if (plot) plot.destroy();
      plot = new uPlot({ width: element.clientWidth, height: 280, ...options() }, data, element);
    };
    element.addEventListener("keydown", event => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      at = Math.min(data[0].length - 1, Math.max(0, at + step));
      plot.setCursor({ left: plot.valToPos(data[0][at], "x"), top: plot.over.clientHeight / 2 });
      said.textContent = tell(at);
    });
    draw();
    redraws.push(draw);
    return { update(next) { data = next; plot.setData(data); } };
  }
  const axis = more => ({ stroke: colour("text"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 },
    font: "13px system-ui, sans-serif", ...more });
  const bytesAxis = () => axis({ size: 88, incrs: POWERS, values: (_, values) => values.map(size) });

  function renderTime(element, series) {
    const data = [series.seconds, series.live_bytes, series.footprint_bytes, series.limit_bytes];
    if (series.seconds.length < 2) {
      add(element, "p", { class: "note" }, series.seconds.length ? "It ended before there was a second point."
        : "It was not noted: it is where a report is asked for at the start.");
      return;
    }
    const most = Math.max(...series.footprint_bytes, 1);
    const limit = series.limit_bytes.reduce((a, b) => b === null ? a : Math.max(a ?? 0, b), null);
    const top = 1.08 * (limit !== null && limit <= 4 * most ? Math.max(limit, most) : most);
    const line = (label, name, more = {}) => ({ label, stroke: colour(name), width: 2, points: { show: false },
      value: (_, value) => sizeOrDash(value), ...more });
    chart(element, "Memory over time", () => ({
      scales: { x: { time: false }, y: { range: [0, top] } },
      axes: [axis({ values: (_, values) => values.map(seconds) }), bytesAxis()],
      series: [{ label: "time", value: (_, value) => value === null ? "--" : seconds(value) },
        line("live", "live", { fill: `${colour("live")}22` }), line("footprint", "footprint"), line("limit", "limit", { dash: [8, 6] })],
    }), data, i => `After ${seconds(series.seconds[i])}: live ${size(series.live_bytes[i])}, footprint ` +
      `${size(series.footprint_bytes[i])}, limit ${size(series.limit_bytes[i])}`);
    if (limit !== null && limit > 4 * most) add(element, "p", { class: "note" }, `The limit of ${size(limit)} is above what is shown.`);
    if (limit === null) add(element, "p", { class: "note" }, "There was no limit.");
  }

  /* Bars side by side; each series is drawn over the one before. */
  function bars(element, label, kind, names, series, tell) {
    const data = [names.map((_, i) => i), ...series.map(one => one.values)];
    const least = Math.min(0, ...series.flatMap(one => one.values)), most = Math.max(1, ...series.flatMap(one => one.values));
    const narrow = Math.max(...names.map(name => name.length)) * names.length > 60;
    chart(element, label, () => ({
      scales: { x: { time: false, range: [-0.6, names.length - 0.4] }, y: { range: [least * 1.05, most * 1.08] } },
      cursor: { drag: { x: false, y: false } },
      axes: [axis({ splits: () => data[0], values: (_, values) => values.map(i => names[i]), grid: { show: false },
        rotate: narrow ? -45 : 0, size: narrow ? 90 : 40 }), bytesAxis()],
      series: [{ label: kind, value: (_, i) => i === null ? "--" : names[i] }, ...series.map(one => ({ label: one.label,
        stroke: colour(one.colour), fill: colour(one.colour), width: 0, points: { show: false },
        paths: uPlot.paths.bars({ size: [0.75, 50] }), value: (_, value) => sizeOrDash(value) }))],
    }), data, tell);
  }

  function renderClasses(element, classes) {
    if (!classes.length) {
      add(element, "p", { class: "note" }, "No slab is in use.");
      return;
    }
    const live = row => row.live_blocks * row.block_bytes;
    bars(element, "Bytes by size class", "block size", classes.map(row => String(row.block_bytes)),
      [{ label: "with waste", colour: "waste", values: classes.map(row => live(row) + row.waste_bytes) },
        { label: "live", colour: "live", values: classes.map(live) }],
      i => `Blocks of ${classes[i].block_bytes} bytes: live ${size(live(classes[i]))}, waste ${size(classes[i].waste_bytes)}`);
    table(element, "Blocks by size. Waste is what their slabs have that no live block does.", [
      { title: "Block size", text: row => count(row.block_bytes), sort: row => row.block_bytes, exact: row => exact(row.block_bytes) },
      countColumn("Live blocks", row => row.live_blocks), countColumn("Free blocks", row => row.free_blocks),
      countColumn("Slabs", row => row.slabs), bytesColumn("Footprint", row => row.footprint_bytes),
      bytesColumn("Live", live), bytesColumn("Waste", row => row.waste_bytes),
      { title: "Waste share", text: row => share(row.waste_bytes, row.footprint_bytes), sort: row => row.waste_bytes / (row.footprint_bytes || 1) },
    ], classes);
  }

  const MOST_TYPES = 12; // that are drawn; the table has all

  function renderTypes(element, report) {
    if (report.types_note) add(element, "p", { class: "note" }, report.types_note);
    if (!report.types.length) {
      add(element, "p", { class: "note" }, "Types were not counted.");
      return;
    }
    const grew = report.types_since_start, value = row => grew ? row.bytes - row.bytes_before : row.bytes;
    const text = bytes => grew ? signed(bytes, size) : size(bytes);
    const types = [...report.types].sort((a, b) => value(b) - value(a));
    const top = types.filter(row => value(row) !== 0).slice(0, MOST_TYPES);
    if (!grew) document.getElementById("types-title").textContent = "Memory by type";
    if (top.length)
      bars(element, "Bytes by type", "type", top.map(row => row.name.length > 24 ? `${row.name.slice(0, 23)}\u2026` : row.name),
        [{ label: grew ? "growth" : "bytes", colour: "live", values: top.map(value) }], i => `${top[i].name}: ${text(value(top[i]))}`);
    const growth = [
      { title: "Growth", text: row => text(value(row)), exact: row => exact(value(row)), sort: value },
      { title: "More objects", text: row => signed(row.count - row.count_before, count), sort: row => row.count - row.count_before }];
    table(element, grew ? "What has come since the start, by type." : "What there is, by type.", [
      { title: "Type", text: row => row.name, isText: true }, ...(grew ? growth : []),
      bytesColumn("Bytes", row => row.bytes), countColumn("Objects", row => row.count),
    ], types, 1);
  }

  // ---- allocation sites ----

  const MOST_SITES = 200;

  function renderSites(element, sites) {
    if (!sites) {
      add(element, "p", { class: "note" }, "Allocations were not sampled (--sample).");
      return;
    }
    const frame = number => {
      const [name, file, line] = sites.frames[number];
      return file ? `${name} (${file}${line ? `:${line}` : ""})` : name;
    };
    const rows = sites.rows.map(row => Object.fromEntries(sites.columns.map((name, i) => [name, row[i]])))
      .sort((a, b) => b.live_bytes - a.live_bytes || b.allocated_bytes - a.allocated_bytes);
    const shown = rows.slice(0, MOST_SITES);
    add(element, "p", { class: "note" }, `Estimated from ${count(sites.samples)} samples, one for each ${size(sites.rate_bytes)} allocated` +
      (sites.missed ? `; ${count(sites.missed)} more found no room` : "") + (rows.length > shown.length ? `. The first ${shown.length} of ${rows.length} sites.` : "."));
    table(element, "Which lines allocated, and what of it is live.", [
      { title: "Line", text: row => frame(row.stack.at(-1)), isText: true },
      bytesColumn("Live", row => row.live_bytes), countColumn("Live blocks", row => row.live_blocks),
      bytesColumn("Allocated", row => row.allocated_bytes), countColumn("Blocks allocated", row => row.allocated_blocks),
      { title: "Called from", text: row => row.stack.slice(0, -1).reverse().slice(0, 3).map(frame).join(" \u2190 "), isText: true,
        exact: row => row.stack.slice(0, -1).reverse().map(frame).join("\n") },
    ], shown, 1);
  }

  // ---- the page ----

  function renderHead(report) {
    document.getElementById("title").textContent = report.program ? `Memory of ${report.program}` : "Memory of a program";
    document.getElementById("subtitle").textContent =
      `emma ${report.emma}${report.runtime ? `, ${report.runtime}` : ""}, process ${report.process}`;
    const verdicts = document.getElementById("verdicts"), facts = document.getElementById("facts");
    for (const verdict of report.verdicts) add(verdicts, "li", {}, verdict);
    const fact = (name, text, title) => {
      const box = add(facts, "div");
      add(box, "dt", {}, name);
      add(box, "dd", title ? { title } : {}, text);
    };
    for (const [name, key] of [["Limit", "limit_bytes"], ["Peak footprint", "peak_footprint_bytes"], ["Footprint", "footprint_bytes"],
      ["Live", "live_bytes"], ["Kept for reuse", "retained_bytes"], ["emma's own", "metadata_bytes"], ["Outside emma", "outside_bytes"]])
      if (key in report) fact(name, size(report[key]), exact(report[key]));
    fact("Live blocks", count(report.live_blocks));
    fact("Requests refused", count(report.refused_count));
    if (report.run_seconds !== undefined) fact("Run time", seconds(report.run_seconds));
    if (typeof report.exit_status === "number") fact("Exit status", String(report.exit_status));
  }

  function renderAll(element, report) {
    const rows = Object.entries(report).filter(([, value]) => value === null || typeof value !== "object");
    table(element, "Every single figure of the report, by its name in the JSON.", [
      { title: "Name", text: ([name]) => name, isText: true },
      { title: "Value", text: ([name, value]) => value === null ? "none" : name.endsWith("_bytes") ? size(value) : String(value), isText: true,
        exact: ([name, value]) => name.endsWith("_bytes") ? exact(value) : "", sort: ([, value]) => String(value ?? "") },
    ], rows);
  }

  function redrawAll() {
    for (const redraw of redraws) redraw();
  }

  /* Draws all anew when the width or the theme changes. */
  function watchLook() {
    let timer = 0, width = innerWidth;
    addEventListener("resize", () => {
      if (innerWidth === width) return;
      width = innerWidth;
      clearTimeout(timer);
      timer = setTimeout(redrawAll, 100);
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
  }

  function renderPage(report) {
    renderHead(report);
    renderTime(document.getElementById("time"), report.series);
    renderClasses(document.getElementById("classes"), report.classes);
    emmaReport.renderMap(document.getElementById("map"), report.chunks);
    renderTypes(document.getElementById("types"), report);
    renderSites(document.getElementById("sites"), report.sites);
    renderAll(document.getElementById("all"), report);
    watchLook();
    // On paper, dark ink on white.
    addEventListener("beforeprint", () => { document.documentElement.dataset.theme = "light"; redrawAll(); });
    addEventListener("afterprint", () => { delete document.documentElement.dataset.theme; redrawAll(); });
  }

  return { renderPage, chart, axis, bytesAxis, table, bytesColumn, countColumn, add, colour, size, exact, count, seconds, share, redraws,
    watchLook };
})();
