/* emma-report-map.js - draws the map of a heap, with what emma-report.js has.
 *
 *     emmaReport.renderMap(element, chunks)    a map, from the "chunks" of a report; returns { update(chunks) }
 *     emmaReport.renderMap(element, chunks, { blocks })     one of several maps: they share the colours of `blocks`,
 *     emmaReport.renderLegend(element, list, blocks)        and a legend; blocks = topBlocks(list of "chunks") */
"use strict";
(() => {
  const { table, bytesColumn, countColumn, add, colour, size, count, share, redraws } = emmaReport;

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

  Object.assign(emmaReport, { renderMap, renderLegend, topBlocks });
})();
