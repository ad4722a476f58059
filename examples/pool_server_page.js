/* pool_server_page.js - asks the server for its figures each second and shows them. Rates are differences between two
 * answers by the server's clock. Texts of scripts are put in as text, never as markup. */
"use strict";
(() => {
  const { add, axis, chart, colour, count, countColumn, renderLegend, renderMap, seconds, share, size, table, topBlocks, watchLook } = emmaReport;
  const EVERY_MS = 1000, PATIENCE_MS = 5000, POINTS = 300;
  const REASONS = { error: "limit", memory: "kind-run", instructions: "block-0", deadline: "block-5", killed: "kind-young", unavailable: "quiet" };
  const byId = id => document.getElementById(id);
  const byTime = time => time === undefined ? "--" : new Date(time * 1000).toLocaleTimeString("en", { hour12: false });
  const rate = value => value === null || value === undefined ? "--" : value >= 100 ? count(Math.round(value)) : String(+value.toFixed(1));
  const spent = us => us === null || us === undefined ? "--" : us >= 1000 ? seconds(us / 1e6) : `${Math.round(us)} µs`;

  // ---- over time ----

  /* Columns: time, done, failed, half, most, and one per reason; a row of nulls is a gap. */
  const columns = Array.from({ length: 5 + Object.keys(REASONS).length }, () => []);
  const pick = places => places.map(place => columns[place]);
  const REASON_PLACES = Object.keys(REASONS).map((_, i) => 5 + i);

  function note(row) {
    columns.forEach((column, i) => {
      column.push(row[i]);
      if (column.length > POINTS) column.shift();
    });
  }

  /* Lines of those columns; without a pointer the legend tells the last value. */
  function lines(element, label, places, names, colours, text, leastTop) {
    const told = names.map((name, i) => at => `${name} ${text(columns[places[i]][at])}`);
    const last = place => columns[place].findLast(value => value !== null);
    return chart(element, label, () => ({
      height: 220,
      scales: { x: { time: false }, y: { range: (_, least, most) => [0, Math.max(leastTop, most || 0) * 1.08] } },
      axes: [axis({ space: 90, values: (_, values) => values.map(byTime) }), axis({ size: 70, values: (_, values) => values.map(text) })],
      series: [{ label: "time", value: (_, value) => byTime(value ?? last(0)) }, ...names.map((name, i) => ({
        label: name, stroke: colour(colours[i]), width: 2, points: { show: false }, value: (_, value, __, at) => text(at === null ? last(places[i]) : value) }))],
    }), pick([0, ...places]), at => `${byTime(columns[0][at])}: ${told.map(tell => tell(at)).join(", ")}`);
  }
  const charts = [
    [[1, 2], lines(byId("rate"), "Requests per second", [1, 2], ["done", "failed"], ["live", "limit"], rate, 10)],
    [[3, 4], lines(byId("times"), "Time per request", [3, 4], ["half are below", "99 % are below"], ["live", "footprint"], spent, 100)],
    [REASON_PLACES, lines(byId("failed"), "Failures per second, by reason", REASON_PLACES, Object.keys(REASONS), Object.values(REASONS), rate, 1)],
  ];

  // ---- figures ----

  const failedOf = server => Object.keys(REASONS).reduce((sum, reason) => sum + server[reason], 0);

  /* What that share of the requests since `before` took at most, in microseconds; null: there were none. */
  function timeOf(part, before, now) {
    const old = new Map(before.times), rows = now.times.map(([end, total]) => [end, total - (old.get(end) ?? 0)]);
    let left = part * rows.reduce((sum, [, number]) => sum + number, 0);
    return left > 0 ? rows.find(([, number]) => (left -= number) <= 0)?.[0] ?? null : null;
  }

  /* What happened between two answers; null: they are not of one server. */
  function difference(before, now) {
    const passed = now.seconds - (before?.seconds ?? now.seconds);
    if (passed <= 0 || before.process !== now.process) return null;
    const per = value => (value(now.server) - value(before.server)) / passed;
    return [Date.now() / 1000, per(server => server.done), per(failedOf), timeOf(0.5, before, now), timeOf(0.99, before, now),
      ...Object.keys(REASONS).map(reason => per(server => server[reason]))];
  }

  const facts = new Map();
  function fact(name, text) {
    if (!facts.has(name)) {
      const box = add(byId("facts"), "div");
      add(box, "dt", {}, name);
      facts.set(name, add(box, "dd"));
    }
    if (facts.get(name).textContent !== text) facts.get(name).textContent = text;
  }

  function showFacts(now, row) {
    const { pool, server } = now, failed = failedOf(server);
    byId("subtitle").textContent = `${now.file}, emma ${now.emma}, process ${now.process}, up ${seconds(now.seconds)}; a request may take ` +
      (pool ? `${size(now.limit_bytes)}, ${seconds(now.deadline_us / 1e6)}${now.instructions ? `, ${count(now.instructions)} instructions` : ""}`
        : "anything: nothing is isolated");
    fact("Requests per second", row ? rate(row[1] + row[2]) : "--");
    fact("Half take at most", spent(row?.[3]));
    fact("99 % take at most", spent(row?.[4]));
    fact("Requests", count(server.requests));
    fact("Failed", `${count(failed)}, ${share(failed, server.requests)}`);
    if (!pool) return;
    fact("Sandboxes", `${count(pool.sandboxes)} of ${count(pool.sandboxes_max)}`);
    fact("Idle", count(pool.idle));
    fact("Leased", count(pool.sandboxes - pool.idle));
    fact("Had to wait", count(pool.waited));
    fact("Prepared", count(pool.prepared));
    fact("Replaced", count(pool.replaced));
    fact("Broken, rolled back", count(pool.broken));
    fact("A rollback takes", pool.acquired ? spent(pool.rollback_us / pool.acquired) : "--");
    fact("Memory of idle ones", size(pool.footprint_bytes));
  }

  // ---- tables: written anew when what they tell has changed, but not under the user's hands ----

  const told = new Map();
  function tell(id, figures, write) {
    const element = byId(id), text = JSON.stringify(figures);
    if (told.get(id) === text || element.contains(document.activeElement)) return;
    told.set(id, text);
    element.textContent = "";
    write(element);
  }

  const showEnds = server => tell("ends", server, element => table(element, "All requests since the server started.", [
    { title: "End", text: ([reason]) => reason, isText: true }, countColumn("Requests", ([, number]) => number),
    { title: "Share", text: ([, number]) => share(number, server.requests), sort: ([, number]) => number },
  ], ["done", ...Object.keys(REASONS)].map(reason => [reason, server[reason]])));

  const showFailures = failures => tell("failures", failures, element => {
    if (!failures.length) add(element, "p", { class: "note" }, "None so far.");
    else table(element, "The last one is the first.", [
      { title: "Time", text: row => byTime(row.time), sort: row => row.time }, { title: "Reason", text: row => row.reason, isText: true },
      { title: "Request", text: row => row.request, isText: true }, { title: "Message", text: row => row.message, isText: true },
    ], failures);
  });

  // ---- sandboxes ----

  const cards = new Map();

  function newCard(number) {
    const element = add(byId("sandboxes"), "article", { class: "card", "aria-label": `Sandbox ${number}` });
    const head = add(element, "h3", {}, `Sandbox ${number}`);
    return { element, use: add(head, "span"), calls: add(element, "p"), memory: add(element, "p"),
      meter: add(element, "meter", { min: 0, "aria-label": "Footprint, of the limit" }), map: add(element, "div"), drawn: null, text: "" };
  }

  function showCard(card, one, blocks) {
    card.use.textContent = one.idle ? "idle" : "leased";
    if (!one.chunks) {
      card.calls.textContent = "No map yet: it is at work.";
      return;
    }
    const calls = Object.entries(one.calls).filter(([, number]) => number).map(([reason, number]) => `${count(number)} ${reason}`);
    card.calls.textContent = `Calls: ${calls.join(", ") || "none"}`;
    card.memory.textContent = `${size(one.footprint_bytes)} of ${size(one.limit_bytes)}, ` +
      (one.has_request ? "as a request left it" : "ready for a request");
    card.meter.max = one.limit_bytes;
    card.meter.value = one.footprint_bytes;
    const text = JSON.stringify([one.chunks, blocks]);
    if (text === card.text) return;
    card.text = text;
    if (card.drawn) card.drawn.update(one.chunks, blocks);
    else card.drawn = renderMap(card.map, one.chunks, { blocks });
  }

  function showSandboxes(sandboxes, pool) {
    const maps = sandboxes.map(one => one.chunks).filter(Boolean), blocks = topBlocks(maps);
    tell("legend", [blocks, maps.map(chunks => chunks.rows.map(row => row[3]))], element => renderLegend(element, maps, blocks));
    for (const [number, card] of cards) {
      if (sandboxes.some(one => one.number === number)) continue;
      card.element.remove();
      cards.delete(number);
    }
    for (const one of sandboxes) {
      if (!cards.has(one.number)) cards.set(one.number, newCard(one.number));
      showCard(cards.get(one.number), one, blocks);
    }
    const more = pool ? pool.sandboxes - sandboxes.length : 0;
    byId("sandboxes-note").textContent = !pool ? "There are none: handlers run in plain states." :
      more > 0 ? `${count(more)} more are not shown.` : "Each with its chunks in the order of addresses. A number is never used twice: one that is replaced has a new one.";
  }

  // ---- asking ----

  let before = null, timer = 0, isPaused = false, isAsking = false;

  function say(state, text) {
    const line = byId("state");
    document.body.classList.toggle("stale", state === "gone");
    line.dataset.state = state;
    if (line.textContent !== text) line.textContent = text;
  }

  function show(now) {
    const row = difference(before, now);
    if (row) note(row);
    before = now;
    showFacts(now, row);
    for (const [places, one] of charts) one.update(pick([0, ...places]));
    showEnds(now.server);
    showSandboxes(now.sandboxes, now.pool);
    showFailures(now.failures);
  }

  /* The next difference would be one over the pause, so there is none. */
  function gap() {
    if (before) note([Date.now() / 1000, ...columns.slice(1).map(() => null)]);
    before = null;
  }

  async function ask() {
    clearTimeout(timer);
    if (isAsking || isPaused || document.hidden) return;
    isAsking = true;
    try {
      const answer = await fetch("/emma/status.json", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const now = await answer.json();
      if (!isPaused) {
        show(now);
        say("live", "Live, each second");
      }
    } catch {
      gap();
      if (!isPaused) say("gone", "The server does not answer; it is asked again each second");
    }
    isAsking = false;
    if (!isPaused && !document.hidden) timer = setTimeout(ask, EVERY_MS);
  }

  byId("pause").addEventListener("click", () => {
    isPaused = !isPaused;
    byId("pause").setAttribute("aria-pressed", isPaused);
    gap();
    say("paused", isPaused ? "Paused" : "Asking the server ...");
    ask();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) gap();
    ask();
  });
  watchLook();
  ask();
})();
