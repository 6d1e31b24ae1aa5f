"use strict";
(() => {
  // Everything from outside becomes text nodes; nothing is ever parsed as markup.
  const data = JSON.parse(document.getElementById("data").textContent);
  const size = data.columns.key.length ?? data.columns.key.at.length;
  const get = (name, i) => {
    const column = data.columns[name];
    if (column === undefined) return null;
    if (Array.isArray(column)) return column[i];
    return column.at[i] < 0 ? null : column.of[column.at[i]];
  };
  const at = new Map();
  for (let i = 0; i < size; i++) at.set(get("key", i), i);
  const hidden = new Set(data.hidden);
  const measures = new Map(data.measures.map((m) => [m.column, m]));
  const $ = (id) => document.getElementById(id);

  const make = (tag, kind, ...inside) => {
    const element = document.createElement(tag);
    if (kind) element.className = kind;
    element.append(...inside.filter((part) => part !== null && part !== undefined));
    if (tag === "button") element.type = "button";
    return element;
  };
  const foreign = (text) => make("bdi", "", String(text));
  const short = (text) => (/^-?\d+\.\d{4,}(e-?\d+)?$/.test(text) ? String(Number(Number(text).toPrecision(3))) : text);
  const words = (name) => String(name).replaceAll("_", " ");
  const amount = (value, unit) => {
    if (unit === "%") return `${(100 * value).toFixed(Math.abs(value) >= 0.0995 || Math.abs(value) < 0.0005 ? 0 : 1)} %`;
    const text = Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
    return unit === "°" ? text + unit : unit ? `${text} ${unit}` : text;
  };
  const name = (i) => {
    const title = get("title", i);
    return title && title !== "unknown" ? title : (get("source_path", i) || "").split("/").pop() || get("key", i);
  };

  // ---- pictures: only what was made, blurred, and never of hidden clips
  const picture = (i) => {
    if (hidden.has(i)) return make("div", "picture", "not shown");
    if (!(data.pictures[i] & 1)) return make("div", "picture", "no preview");
    const image = make("img");
    image.loading = "lazy";
    image.decoding = "async";
    image.alt = "";
    image.src = `previews/${encodeURIComponent(get("key", i))}.webp`;
    return make("div", "picture", image);
  };
  const tags = (i) => {
    const box = make("div", "marks", make("span", `tag ${get("outcome", i)}`, get("outcome", i)));
    for (const flag of get("flags", i) || []) box.append(make("span", "tag", words(flag)));
    return box;
  };
  const card = (i, text) => {
    const button = make("button", "card", picture(i), make("div", "words", make("b", "", foreign(name(i))), make("span", "dim", text)));
    button.addEventListener("click", () => show(i));
    return button;
  };

  // ---- worst cases
  const worstBy = $("worst-by");
  const worst = () => {
    const measure = measures.get(worstBy.value);
    const keys = (measure && data.worst[measure.column]) || [];
    $("worst-cards").replaceChildren(...keys.filter((key) => at.has(key)).map((key) => {
      const i = at.get(key);
      return card(i, `${amount(get(measure.column, i), measure.unit)} · ${get("outcome", i)}`);
    }));
  };
  worstBy.addEventListener("change", worst);

  // ---- pairs, side by side
  const pairBox = $("pairs");
  let pairsShown = 0;
  const morePairs = () => {
    const next = data.pairs.slice(pairsShown, pairsShown + 12);
    pairsShown += next.length;
    for (const pair of next) {
      const side = (key, split) => {
        if (!at.has(key)) return make("div", "", make("div", "words", make("b", "", key), make("span", "dim", "not among the clips of this page")));
        const i = at.get(key);
        const button = make("button", "", picture(i), make("div", "words", make("b", "", foreign(name(i))), make("span", "dim", [split, get("uploader", i)].filter(Boolean).join(" · "))));
        button.addEventListener("click", () => show(i));
        return button;
      };
      const facts = [words(pair.kind), `similarity ${Number(pair.similarity).toFixed(3)}`];
      if (pair.mirrored) facts.push("mirrored");
      if (pair.speed && Math.abs(pair.speed - 1) > 0.01) facts.push(`${Number(pair.speed).toFixed(2)}× speed`);
      if (pair.same_source) facts.push("same source");
      const line = make("p", "", facts.join(" · "));
      if (pair.leak) line.prepend(make("span", "tag stop", "leak"), " ");
      pairBox.append(make("div", "pair", make("div", "two", side(pair.a, pair.split_a), side(pair.b, pair.split_b)), line));
    }
    $("more-pairs").hidden = pairsShown >= data.pairs.length;
  };
  if (pairBox) {
    $("more-pairs").addEventListener("click", morePairs);
    morePairs();
  }

  // ---- the list of clips
  const filters = { find: $("find"), outcome: $("by-outcome"), licence: $("by-licence"), flag: $("by-flag"), split: $("by-split"), measure: $("by-measure") };
  let identity = null;
  let order = 1;
  let found = [];
  let shown = 0;
  const fill = (select, values) => {
    for (const value of values) {
      const option = make("option", "", words(value));
      option.value = value;
      select.append(option);
    }
  };
  const distinct = (column) => {
    const values = new Set();
    for (let i = 0; i < size; i++) for (const value of [get(column, i)].flat()) if (value !== null && value !== undefined) values.add(value);
    return [...values].sort();
  };
  fill(filters.outcome, distinct("outcome"));
  fill(filters.licence, distinct("licence"));
  fill(filters.flag, distinct("flags"));
  fill(filters.split, distinct("split"));
  for (const measure of data.measures) {
    const option = make("option", "", `Sort by ${measure.title.toLowerCase()}`);
    option.value = measure.column;
    filters.measure.append(option);
  }
  const texts = ["title", "uploader", "key", "source_path", "licence", "reason"];
  const haystack = [];
  const searched = (i) => (haystack[i] ??= texts.map((t) => get(t, i) || "").join("\n").toLowerCase());
  const refresh = () => {
    const wanted = filters.find.value.trim().toLowerCase();
    found = [];
    for (let i = 0; i < size; i++) {
      if (filters.outcome.value && get("outcome", i) !== filters.outcome.value) continue;
      if (filters.licence.value && get("licence", i) !== filters.licence.value) continue;
      if (filters.split.value && get("split", i) !== filters.split.value) continue;
      if (filters.flag.value && !(get("flags", i) || []).includes(filters.flag.value)) continue;
      if (identity !== null && get("identity", i) !== identity) continue;
      if (wanted && !searched(i).includes(wanted)) continue;
      found.push(i);
    }
    const by = filters.measure.value;
    if (by) {
      const value = (i) => get(by, i) ?? (order > 0 ? Infinity : -Infinity);
      found.sort((a, b) => order * (value(a) - value(b)) || a - b);
    } else if (order < 0) found.reverse();
    let seconds = 0;
    for (const i of found) seconds += get("seconds", i) || 0;
    const length = seconds >= 3600 ? `${(seconds / 3600).toFixed(1)} h` : `${Math.round(seconds / 60)} min`;
    $("found").textContent = `${found.length.toLocaleString("en").replaceAll(",", "\u202f")} clips, ${length}${identity === null ? "" : `, person ${identity}`}`;
    shown = 0;
    $("list").replaceChildren();
    more();
  };
  const more = () => {
    const by = measures.get(filters.measure.value);
    const part = document.createDocumentFragment();
    for (const i of found.slice(shown, shown + 60)) {
      const facts = [get("uploader", i), get("licence", i), get("split", i)].filter((fact) => fact && fact !== "unknown");
      const value = by && get(by.column, i) !== null ? amount(get(by.column, i), by.unit) : `${(get("seconds", i) || 0).toFixed(1)} s`;
      const row = make("button", "row", picture(i), make("div", "words", make("b", "", foreign(name(i))), make("span", "dim", foreign(facts.join(" · "))), tags(i)), make("div", "end", value));
      row.addEventListener("click", () => show(i));
      part.append(row);
    }
    shown = Math.min(found.length, shown + 60);
    $("list").append(part);
    $("more").hidden = shown >= found.length;
  };
  $("more").addEventListener("click", more);
  let waiting = 0;
  filters.find.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(refresh, 120); });
  for (const [key, field] of Object.entries(filters)) if (key !== "find") field.addEventListener("change", refresh);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("order").addEventListener("click", () => { order = -order; $("order").textContent = order > 0 ? "↑" : "↓"; refresh(); });
  const clear = () => { identity = null; order = 1; $("order").textContent = "↑"; for (const field of Object.values(filters)) field.value = ""; };
  $("clear").addEventListener("click", () => { clear(); refresh(); });
  const jump = () => { refresh(); $("clips").scrollIntoView(); };
  for (const button of document.querySelectorAll("[data-flag]")) button.addEventListener("click", () => { clear(); filters.flag.value = button.dataset.flag; jump(); });
  for (const button of document.querySelectorAll("[data-identity]")) button.addEventListener("click", () => { clear(); identity = Number(button.dataset.identity); jump(); });

  // ---- CSV: a cell that a spreadsheet would take for a formula gets a quote before it
  const cell = (value) => {
    if (value === null || value === undefined) return "";
    if (typeof value === "number") return String(value);
    let text = typeof value === "object" ? JSON.stringify(value) : String(value);
    if (/^[\s]*[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\n\r;]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  $("export").addEventListener("click", () => {
    const names = Object.keys(data.columns);
    const lines = [names.join(",")];
    for (const i of found) lines.push(names.map((column) => cell(get(column, i))).join(","));
    const link = make("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff", lines.join("\r\n"), "\r\n"], { type: "text/csv" }));
    link.download = "clips.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });

  // ---- one clip's whole record
  const dialog = $("record");
  const facts = (pairs) => {
    const list = make("dl");
    for (const [term, value] of pairs) {
      if (value === null || value === undefined || value === "") continue;
      list.append(make("dt", "", term), make("dd", "", value instanceof Node ? value : foreign(value)));
    }
    return list;
  };
  const link = (url) => {
    if (!url || !/^https?:\/\//i.test(url)) return url;
    const anchor = make("a", "", foreign(url));
    anchor.href = url;
    anchor.rel = "noreferrer noopener";
    anchor.target = "_blank";
    return anchor;
  };
  // Among equals a clip stands in their middle: what nearly all clips have is no extreme.
  const rank = (column, value) => {
    const levels = data.quantiles[column];
    if (!levels) return null;
    let below = 0;
    while (below < levels.length && levels[below] < value) below++;
    let upTo = below;
    while (upTo < levels.length && levels[upTo] <= value) upTo++;
    return Math.max(0, Math.min(1, (below + upTo - 1) / 2 / (levels.length - 1)));
  };
  const score = (measure, value) => {
    const place = rank(measure.column, value);
    const bad = place !== null && ((measure.bad === "high" && place >= 0.95) || (measure.bad === "low" && place <= 0.05));
    const row = make("div", bad ? "score bad" : "score", make("span", "", measure.title), make("span", "n", amount(value, measure.unit)));
    if (place !== null) {
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("viewBox", "0 0 70 10");
      const line = document.createElementNS(svg.namespaceURI, "path");
      line.setAttribute("d", "M3 5H67");
      const dot = document.createElementNS(svg.namespaceURI, "circle");
      dot.setAttribute("cx", String(3 + 64 * place));
      dot.setAttribute("cy", "5");
      dot.setAttribute("r", "3");
      svg.append(line, dot);
      row.append(svg);
      row.title = `above ${Math.round(100 * place)} % of the clips`;
    }
    return row;
  };
  const show = (i) => {
    const key = get("key", i);
    const close = make("button", "close", "Close");
    close.addEventListener("click", () => dialog.close());
    const head = make("div", "top", make("div", "", make("h2", "", foreign(name(i))), tags(i)), close);
    const inside = make("div", "inside");
    inside.append(strip(i, key));
    const left = make("div");
    const right = make("div");
    const reasons = get("reasons", i) || [];
    if (data.served) left.append(...decide(key));
    if (get("reason", i) || get("message", i)) left.append(make("h3", "", "Why it ended"), facts([["stage", get("stage", i)], ["reason", words(get("reason", i) || "")], ["message", get("message", i)]]));
    if (reasons.length) {
      left.append(make("h3", "", "What the rules say"));
      left.append(facts(reasons.map((r) => [words(r.rule), `${short(r.value)} (${r.threshold}) → ${r.decision}`])));
      left.append(facts([["decided by", get("decided_by", i)]]));
    }
    left.append(make("h3", "", "Origin"), facts([
      ["title", get("title", i)], ["uploader", get("uploader", i)], ["platform", get("platform", i)], ["url", link(get("url", i))],
      ["licence", get("licence", i)], ["read from", get("licence_from", i)], ["consent", get("consent", i)], ["date", get("date", i)],
      ["file", get("source_path", i)], ["source", get("source_sha256", i)],
    ]));
    left.append(make("h3", "", "Clip"), facts([
      ["key", key], ["shard", get("shard", i)], ["split", get("split", i)],
      ["frames", `${get("frames", i)} from frame ${get("start_frame", i)}`], ["size", `${get("width", i)} × ${get("height", i)}`],
      ["shot size", get("shot_size", i)], ["view", get("view", i)], ["person", get("identity", i)],
      ["damaged", get("corrupt", i)], ["benchmark", get("benchmark", i)], ["same content as group", get("near_group", i) ?? get("exact_group", i)],
    ]));
    let group = "";
    for (const measure of data.measures) {
      const value = get(measure.column, i);
      if (value === null || value === undefined) continue;
      if (measure.group !== group) right.append(make("h3", "", (group = measure.group)));
      right.append(score(measure, value));
    }
    for (const column of Object.keys(data.columns)) {
      if (!column.startsWith("score_") || get(column, i) === null) continue;
      if (group !== "scores") right.append(make("h3", "", "Scores of the data engine")), (group = "scores");
      right.append(make("div", "score", make("span", "", words(column.slice(6))), make("span", "n", amount(get(column, i), ""))));
    }
    inside.append(make("div", "halves", left, right));
    dialog.replaceChildren(head, inside);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    history.replaceState(null, "", `#clip=${encodeURIComponent(key)}`);
  };
  const strip = (i, key) => {
    if (hidden.has(i)) return make("div", "strip none", "Marked as possibly showing a minor or nudity: no picture of it is made.");
    const box = make("div", "strip");
    const has = data.pictures[i];
    if (has & 1) {
      const image = make("img");
      image.alt = "Frame, skeleton and rendering";
      image.src = `previews/${encodeURIComponent(key)}.webp`;
      box.append(image);
    }
    if (has & 2) {
      const video = make("video");
      video.controls = video.muted = video.loop = true;
      video.preload = "metadata";
      video.src = `previews/${encodeURIComponent(key)}.mp4`;
      box.append(video);
    }
    if (!has) box.append(make("div", "none", "There is no preview of this clip."));
    return box;
  };
  dialog.addEventListener("close", () => { for (const video of dialog.querySelectorAll("video")) video.pause(); history.replaceState(null, "", location.pathname + location.search); });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  // ---- decisions, where the page is served
  let manual = new Map();
  const decide = (key) => {
    const who = make("input");
    who.placeholder = "Your name";
    who.value = sessionStorage.getItem("who") || "";
    const why = make("input");
    why.placeholder = "Why";
    const said = make("p", "said");
    const tell = (text) => { said.textContent = text; };
    const last = manual.get(key);
    if (last) tell(`${last.decision} by ${last.by}, ${last.at}${last.why ? `: ${last.why}` : ""}`);
    const buttons = ["keep", "review", "drop", null].map((decision) => {
      const button = make("button", "", decision || "take back");
      button.addEventListener("click", async () => {
        if (!who.value.trim()) { tell("Say who you are."); who.focus(); return; }
        sessionStorage.setItem("who", who.value);
        const answer = await fetch("decisions", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ key, decision, by: who.value, why: why.value }) });
        if (!answer.ok) { tell(`Not stored: ${(await answer.text()).slice(0, 200)}`); return; }
        const stored = await answer.json();
        if (stored.decision === null) { manual.delete(key); tell("Taken back. It counts at the next audit."); return; }
        manual.set(key, stored);
        tell(`Stored: ${stored.decision} by ${stored.by}, ${stored.at}. It counts at the next audit.`);
      });
      return button;
    });
    return [make("h3", "", "Your decision"), make("div", "decide", who, why, ...buttons), said];
  };
  if (data.served) fetch("decisions").then((answer) => (answer.ok ? answer.json() : [])).then((rows) => { manual = new Map(rows.map((row) => [row.key, row])); });

  // ---- theme
  $("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  if (worstBy.options.length) worst();
  refresh();
  const wanted = /^#clip=(.+)$/.exec(location.hash);
  if (wanted && at.has(decodeURIComponent(wanted[1]))) show(at.get(decodeURIComponent(wanted[1])));
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
})();
