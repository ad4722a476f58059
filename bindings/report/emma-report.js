/* emma-report.js - draws a report of a heap: charts by uPlot, tables that Tablesort sorts, and the map.
 *
 *     emmaReport.renderPage(report)            the whole page, from the JSON of a report
 *     emmaReport.renderMap(element, chunks)    a map alone, from its "chunks"; returns { update(chunks) }
 *     emmaReport.renderMap(element, chunks, { blocks })     one of several maps: they share the colours of `blocks`,
 *     emmaReport.renderLegend(element, list, blocks)        and a legend; blocks = topBlocks(list of "chunks")
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

  // ---- the map ----

  const FAR_CELLS = 256; // a longer gap starts a new part of the map
  const OWN_COLOURS = 7; // block sizes that have a colour of their own: those with the most memory

  const gcd = (a, b) => { while (b) [a, b] = [b, a % b]; return a; };

  function readRows(chunks) {
    const at = Object.fromEntries(chunks.columns.map((name, i) => [name, i]));
    return chunks.rows.map(row => ({ first: row[at.first], units: row[at.units], repeat: row[at.repeat],
      kind: chunks.kinds[row[at.kind]], block: row[at.block_bytes], live: row[at.live_blocks], free: row[at.free_blocks],
      resident: row[at.resident] }));
  }

  /* The block sizes with the most memory, in rising order. */
  function topBlocks(list) {
    const sums = new Map();
    for (const row of list.flatMap(readRows))
      if (row.kind === "slab") sums.set(row.block, (sums.get(row.block) ?? 0) + row.resident * row.repeat);
    return [...sums].sort((a, b) => b[1] - a[1]).slice(0, OWN_COLOURS).map(([block]) => block).sort((a, b) => a - b);
  }

  function renderLegend(element, list, blocks) {
    const rows = list.flatMap(readRows), has = kind => rows.some(row => row.kind === kind);
    const entry = (name, text) => {
      const item = add(element, "li");
      add(item, "span", { class: "swatch" }).style.background = `var(--${name})`;
      item.append(text);
    };
    element.textContent = "";
    blocks.forEach((block, i) => entry(`block-${i}`, `${block} bytes`));
    if (rows.some(row => row.kind === "slab" && !blocks.includes(row.block))) entry("block-other", "other sizes");
    if (has("run")) entry("kind-run", "a large block");
    if (has("young")) entry("kind-young", "many sizes");
    if (has("heap")) entry("kind-heap", "emma's own");
    entry("kind-free", "free (within a chunk: its free part)");
  }

  /* Cells of equal length; `parts` of neighbours. owner[i] is the row that cell i belongs to, -1: none. */
  function readChunks(chunks) {
    const rows = readRows(chunks);
    let cell = rows.reduce((all, row) => gcd(gcd(all, row.first), row.units), 0) || 1;
    const parts = [];
    let owners = [], start = 0, end = 0;
    const close = () => { if (owners.length) parts.push({ first: start, owner: Int32Array.from(owners) }); owners = []; };
    rows.forEach((row, index) => {
      const gap = (row.first - end) / cell;
      if (gap > FAR_CELLS || !owners.length) {
        close();
        start = row.first;
      } else {
        for (let i = 0; i < gap; i++) owners.push(-1);
      }
      const cells = row.units * row.repeat / cell;
      for (let i = 0; i < cells; i++) owners.push(index);
      end = row.first + row.units * row.repeat;
    });
    close();
    return { rows, cell, parts, unit: chunks.unit_bytes, total: parts.reduce((sum, part) => sum + part.owner.length, 0) };
  }

  function kindWords(row) {
    switch (row.kind) {
      case "slab": return `blocks of ${row.block} bytes, ${count(row.live)} live and ${count(row.free)} free`;
      case "run": return `one block of ${size(row.block)}`;
      case "young": return `small blocks of many sizes, ${count(row.live)} live and ${count(row.free)} free`;
      case "heap": return "emma's own, for a thread";
      default: return "free, kept for reuse";
    }
  }
  const usedShare = row => row.kind === "slab" || row.kind === "young" ? row.live / (row.live + row.free || 1) : 1;

  function renderMap(element, chunks, { blocks } = {}) {
    element.textContent = "";
    const legend = blocks ? null : add(element, "ul", { class: "legend" });
    const frame = add(element, "div", { class: "map", tabindex: "0", role: "application", "aria-label":
      "Map of the heap. Arrow keys go from chunk to chunk, Home and End to the ends, Page Up and Page Down ten lines." });
    const canvas = add(frame, "canvas", { "aria-hidden": "true" });
    const mark = add(frame, "div", { class: "mark" }), tip = add(frame, "div", { class: "tip" });
    const said = add(element, "p", { class: "said", "aria-live": "polite" });
    if (legend) add(element, "p", { class: "note keys" }, "Point at a chunk, or focus the map and use the arrow keys.");
    const detail = add(element, "details");
    add(detail, "summary", {}, "The map in words");
    const words = add(detail, "div");
    let map, top, places, pixels, columns, at = 0;

    const LABEL = 18, MOST_HEIGHT = 12000;
    function arrange() {
      const width = frame.clientWidth;
      pixels = map.total <= 100 ? 22 : map.total <= 3000 ? 14 : map.total <= 20000 ? 9 : map.total <= 150000 ? 6 : 3;
      while (pixels > 1 && map.total / Math.floor(width / pixels) * pixels > MOST_HEIGHT) pixels--;
      columns = Math.max(1, Math.floor(width / pixels));
      let height = 0, first = 0;
      places = map.parts.map((part, i) => {
        const place = { part, first, top: height + (i ? LABEL : 0), lines: Math.ceil(part.owner.length / columns) };
        height = place.top + place.lines * pixels;
        first += part.owner.length;
        return place;
      });
      return { width, height: Math.max(height, pixels) };
    }
    function rowColour(row) {
      if (row.kind !== "slab") return colour(`kind-${row.kind}`);
      const place = top.indexOf(row.block);
      return colour(place < 0 ? "block-other" : `block-${place}`);
    }
    function draw() {
      const { width, height } = arrange(), scale = devicePixelRatio || 1;
      canvas.width = width * scale;
      canvas.height = height * scale;
      canvas.style.height = `${height}px`;
      const context = canvas.getContext("2d");
      context.scale(scale, scale);
      const colours = map.rows.map(rowColour), line = pixels > 4 ? 1 : 0, waste = colour("kind-free");
      places.forEach((place, i) => {
        if (i) {
          const before = places[i - 1].part;
          context.fillStyle = colour("quiet");
          context.font = "12px system-ui, sans-serif";
          context.fillText(`${size((place.part.first - before.first - before.owner.length * map.cell) * map.unit)} of address space not in use`, 2, place.top - 5);
        }
        place.part.owner.forEach((owner, j) => {
          if (owner < 0) return;
          const x = j % columns * pixels, y = place.top + Math.floor(j / columns) * pixels, side = pixels - line;
          const used = Math.round(usedShare(map.rows[owner]) * side);
          context.fillStyle = waste;
          if (used < side) context.fillRect(x, y, side, side - used);
          context.fillStyle = colours[owner];
          context.fillRect(x, y + side - used, side, used);
        });
      });
    }
    function writeWords() {
      const sums = new Map();
      for (const row of map.rows) {
        const key = row.kind === "slab" ? `blocks of ${row.block} bytes` : { run: "large blocks", young: "small blocks of many sizes",
          heap: "emma's own, for threads", free: "free, kept for reuse" }[row.kind];
        const sum = sums.get(key) ?? { key, parts: 0, resident: 0, live: 0, free: 0 };
        sum.parts += row.repeat;
        sum.resident += row.resident * row.repeat * map.unit;
        sum.live += row.live * row.repeat;
        sum.free += row.free * row.repeat;
        sums.set(key, sum);
      }
      words.textContent = "";
      table(words, "What the region's chunks are used for.", [
        { title: "Use", text: sum => sum.key, isText: true }, countColumn("Chunks or runs", sum => sum.parts),
        bytesColumn("Memory", sum => sum.resident), countColumn("Live blocks", sum => sum.live), countColumn("Free blocks", sum => sum.free),
      ], [...sums.values()]);
    }

    /* The cell with a number: where it is drawn, and in words. */
    function find(number) {
      const place = places.find(one => number < one.first + one.part.owner.length);
      const j = number - place.first, owner = place.part.owner[j];
      const offset = (place.part.first + j * map.cell) * map.unit;
      let text = `at offset ${size(offset)}: `;
      if (owner < 0) text += "not in use";
      else {
        const row = map.rows[owner];
        text += `${kindWords(row)}; ${size(row.resident * map.unit)} of memory` +
          (row.kind === "slab" || row.kind === "young" ? `, ${share(row.free, row.live + row.free)} free` : "");
      }
      return { x: j % columns * pixels, y: place.top + Math.floor(j / columns) * pixels, text };
    }
    function show(number) {
      const cell = find(number);
      at = number;
      Object.assign(mark.style, { left: `${cell.x - 2}px`, top: `${cell.y - 2}px`, width: `${pixels + 3}px`, height: `${pixels + 3}px` });
      tip.textContent = cell.text;
      mark.classList.add("shown");
      tip.classList.add("shown");
      const left = Math.min(cell.x, frame.clientWidth - tip.offsetWidth);
      Object.assign(tip.style, { left: `${Math.max(0, left)}px`, top: `${cell.y + pixels + 8}px` });
      return cell;
    }
    function hide() {
      mark.classList.remove("shown");
      tip.classList.remove("shown");
    }
    function go(number) {
      const cell = show(Math.min(map.total - 1, Math.max(0, number)));
      said.textContent = cell.text;
      const top = frame.getBoundingClientRect().top + cell.y;
      if (top < 0 || top + 80 > innerHeight) scrollBy(0, top - innerHeight / 2);
    }
    frame.addEventListener("keydown", event => {
      const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -map.total, End: map.total,
        PageUp: -10 * columns, PageDown: 10 * columns };
      if (event.key === "Escape") hide();
      if (!(event.key in steps) || !map.total) return;
      event.preventDefault();
      go(at + steps[event.key]);
    });
    frame.addEventListener("focus", () => { if (map.total && frame.matches(":focus-visible")) go(at); });
    frame.addEventListener("blur", hide);
    if (!legend) detail.addEventListener("toggle", () => { if (detail.open) writeWords(); });
    canvas.addEventListener("pointermove", event => {
      const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
      const place = places.find(one => y >= one.top && y < one.top + one.lines * pixels);
      const column = Math.floor(x / pixels);
      const j = place ? Math.floor((y - place.top) / pixels) * columns + column : -1;
      if (place && column < columns && j < place.part.owner.length) show(place.first + j);
      else hide();
    });
    canvas.addEventListener("pointerleave", hide);
    /* What was pointed at stays so; the words are written when they are seen. */
    function update(next, nextBlocks) {
      const isShown = tip.classList.contains("shown");
      map = readChunks(next);
      top = nextBlocks ?? topBlocks([next]);
      if (legend) renderLegend(legend, [next], top);
      at = Math.min(at, Math.max(0, map.total - 1));
      draw();
      if (isShown && map.total) show(at);
      else hide();
      if (legend || detail.open && !words.contains(document.activeElement)) writeWords();
    }
    update(chunks, blocks);
    redraws.push(draw);
    return { update };
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
    renderMap(document.getElementById("map"), report.chunks);
    renderTypes(document.getElementById("types"), report);
    renderSites(document.getElementById("sites"), report.sites);
    renderAll(document.getElementById("all"), report);
    watchLook();
    // On paper, dark ink on white.
    addEventListener("beforeprint", () => { document.documentElement.dataset.theme = "light"; redrawAll(); });
    addEventListener("afterprint", () => { delete document.documentElement.dataset.theme; redrawAll(); });
  }

  return { renderPage, renderMap, renderLegend, topBlocks, chart, axis, bytesAxis, table, countColumn, add, colour, size, exact, count,
    seconds, share, watchLook };
})();
