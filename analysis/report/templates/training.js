// The figures of a training's page; included before report.js, whose words they use.
globalThis.ownFigures = {bands, front, effects};

const percent = (share) => `${Number((100 * share).toPrecision(3))} %`;

function worded([centre, low, high, kind], unit) {
  if (unit !== "%") return withBounds([centre, low, high, kind], unit);
  const interval = kind === "none" ? "one repetition" : `${kind === "t" ? "95 %" : "range"}: ${percent(low)} … ${percent(Math.min(1, high))}`;
  return `${percent(centre)} (${interval})`;
}

// An axis of shares from a little below the lowest to a little above the highest.
function shares(values, title = "") {
  const margin = 0.06 * (Math.max(...values) - Math.min(...values)) + 0.005;
  const low = Math.max(0, Math.min(...values) - margin);
  const high = Math.min(1 + margin / 2, Math.max(...values) + margin);
  const ticks = steps(low, Math.min(1, high), 6, false);
  return axis(low, high, false, ticks, ticks.map(percent), title);
}

function whole(values, title) {
  const last = Math.max(...values);
  const ticks = last < 2 ? [1] : steps(0.5, last, 8, false).filter(Number.isInteger);
  return {...axis(0.5, last + 0.5, false, ticks, ticks.map(String), title), showgrid: false};
}

// The corners of a line that holds its height until the next point, where it is drawn so.
function stepped(x, y, shape) {
  if (shape !== "hv") return [x, y];
  const corners = x.flatMap((at, i) => (i ? [[at, y[i - 1]], [at, y[i]]] : [[at, y[i]]]));
  return [corners.map(([at]) => at), corners.map(([, height]) => height)];
}

// Energy spent begins at nothing: its axis is linear. What an epoch takes may differ by decades.
function bands(facts, chosen) {
  const curves = facts.curves.filter((c) => chosen.variants.has(c.variant));
  if (!curves.length) return nothing("Nothing is chosen.");
  const heights = ends(curves).map((value) => (facts.y.unit === "%" ? Math.min(1, Math.max(0, value)) : value));
  const across = curves.flatMap((c) => c.x);
  const x = facts.x.whole ? whole(across, facts.x.title) : {...amounts(across, facts.x.unit, false, facts.x.title), showgrid: false};
  const y = facts.y.unit === "%" ? shares(heights) : amounts(heights, facts.y.unit, chosen.log);
  const data = [];
  for (const c of curves.filter((one) => one.y.some(([, low, high]) => low < high))) {
    const along = (bound) => stepped(c.x, c.y.map((value) => value[bound]), facts.shape);
    const [x, low] = along(1);
    const [, high] = along(2);
    data.push({
      type: "scatter", mode: "lines", hoverinfo: "skip", line: {width: 0}, fill: "toself",
      fillcolor: `${colour(c.variant)}26`, x: [...x, ...[...x].reverse()], y: [...high, ...low.reverse()],
    });
  }
  for (const c of curves) {
    const place = (at) => (facts.x.whole ? `${facts.x.title} ${at}` : si(at, facts.x.unit));
    const notes = c.x.map((at, i) => `<b>${place(at)}</b><br>${text([c.words, facts.y.words].filter(Boolean).join(" "))} ${worded(c.y[i], facts.y.unit)}`);
    const trace = line(c, c.x, c.y, notes);
    data.push({
      ...trace, error_y: undefined, mode: c.layer || c.x.length > 24 ? "lines" : "lines+markers",
      line: {...trace.line, shape: facts.shape ?? "linear"}, marker: {...trace.marker, size: 6},
    });
  }
  return {data, layout: layout(x, y, {height: 320})};
}

function front({points, words}, chosen, room) {
  const shown = points.filter((p) => chosen.variants.has(p.variant));
  if (!shown.length) return nothing("Nothing is chosen.");
  const kind = points.some((p) => p.estimated) ? " (estimated)" : "";
  const energies = shown.flatMap(({energy}) => energy.slice(0, 3));
  const x = amounts([...energies, Math.max(...energies) * 1.6], "J", chosen.log, `energy per image seen${kind}`);
  const y = shares(shown.flatMap(({accuracy}) => accuracy.slice(0, 3).map((v) => Math.min(1, v))));
  const on = points.filter((p) => p.front).sort((a, b) => a.energy[0] - b.energy[0]);
  const right = Math.max(...points.map((p) => p.energy[0])) * 1.6;
  const {ink, accent} = theme();
  const data = [];
  if (on.length) {
    data.push({
      type: "scatter", mode: "lines", hoverinfo: "skip",
      x: [...on.map((p) => p.energy[0]), right], y: [...on.map((p) => p.accuracy[0]), on.at(-1).accuracy[0]],
      line: {shape: "hv", width: 1.6, color: accent, dash: kind ? "dash" : "solid"},
    });
  }
  const named = shown.map((p) => (p.label.length < 25 && (shown.length <= 14 || p.front) ? p.label : "")); // the key has the others
  const spots = placed(shown.map((p, i) => [p.energy[0], p.accuracy[0], 6, named[i]]), x, y, room);
  const spread = (values, top) => ({...errors(values.map(([c, l, h, k]) => [c, l, top ? Math.min(1, h) : h, k])), width: 2});
  shown.forEach((p, i) => {
    const tone = colour(p.variant);
    data.push({
      type: "scatter", mode: "markers+text", name: "", cliponaxis: false,
      x: [p.energy[0]], y: [p.accuracy[0]],
      error_x: {...spread([p.energy]), color: tone}, error_y: {...spread([p.accuracy], true), color: tone},
      text: [text(named[i])], textposition: spots[i], textfont: {size: 10.5, color: ink},
      customdata: [`<b>${text(p.label)}</b><br>${text(words)} ${worded(p.accuracy, "%")}<br>${withBounds(p.energy, "J")} per image seen${p.estimated ? " (estimated)" : ""}${p.front ? "<br>on the Pareto front" : ""}`],
      hovertemplate: "%{customdata}<extra></extra>",
      marker: {
        symbol: page.styles[p.variant].symbol + (p.estimated ? "-open" : ""), size: p.front ? 11 : 8, color: tone,
        line: {width: 2, color: tone},
      },
    });
  });
  return {data, layout: layout(x, y, {height: 320})};
}

// A row for each level, the levels of a factor together; names beside them.
function effects({levels}, chosen) {
  const names = levels.map(({factor, level}) => text(`${factor.replaceAll("_", " ")} ${level}`));
  const factors = [...new Set(levels.map(({factor}) => factor))];
  const rows = levels.map(({factor}, i) => -i - 0.6 * factors.indexOf(factor));
  const x = amounts(levels.flatMap(({energy}) => energy.slice(0, 3)), "J", chosen.log, "energy of a training");
  const y = {...axis(Math.min(...rows) - 0.7, 0.7, false, rows, names), showgrid: false};
  const tone = theme().accent;
  const data = factors.map((factor) => {
    const members = levels.map((one, i) => [one, rows[i], names[i]]).filter(([one]) => one.factor === factor);
    return {
      type: "scatter", mode: "lines+markers", name: "",
      x: members.map(([one]) => one.energy[0]), y: members.map(([, row]) => row),
      error_x: {...errors(members.map(([one]) => one.energy)), color: tone},
      customdata: members.map(([one, , name]) => `<b>${name}</b><br>${withBounds(one.energy, "J")}`),
      hovertemplate: "%{customdata}<extra></extra>",
      line: {color: tone, width: 1, dash: "dot"}, marker: {color: tone, size: 9},
    };
  });
  return {data, layout: layout(x, y, {height: 64 + 34 * levels.length, margin: {l: 110, r: 16, t: 8, b: 44}})};
}
