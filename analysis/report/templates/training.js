// The figures of the pages of trainings; included before report.js, whose words they use.
globalThis.ownFigures = {bands, front, effects, interaction, repetitions, bars};

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
function effects({unit, words, levels}, chosen) {
  const names = levels.map(({factor, level}) => text(`${factor.replaceAll("_", " ")} ${level}`));
  const factors = [...new Set(levels.map(({factor}) => factor))];
  const rows = levels.map(({factor}, i) => -i - 0.6 * factors.indexOf(factor));
  const values = levels.flatMap(({value}) => value.slice(0, 3));
  const x = unit === "%" ? shares(values.map((v) => Math.min(1, Math.max(0, v))), words) : amounts(values, unit, chosen.log, words);
  const y = {...axis(Math.min(...rows) - 0.7, 0.7, false, rows, names), showgrid: false};
  const tone = theme().accent;
  const data = factors.map((factor) => {
    const members = levels.map((one, i) => [one, rows[i], names[i]]).filter(([one]) => one.factor === factor);
    return {
      type: "scatter", mode: "lines+markers", name: "",
      x: members.map(([one]) => one.value[0]), y: members.map(([, row]) => row),
      error_x: {...errors(members.map(([one]) => one.value)), color: tone},
      customdata: members.map(([one, , name]) => `<b>${name}</b><br>${worded(one.value, unit)}`),
      hovertemplate: "%{customdata}<extra></extra>",
      line: {color: tone, width: 1, dash: "dot"}, marker: {color: tone, size: 9},
    };
  });
  return {data, layout: layout(x, y, {height: 64 + 34 * levels.length, margin: {l: 110, r: 16, t: 8, b: 44}})};
}

// A place for each level of one factor, a line for each level of the other.
function interaction({factor, levels, curves}, chosen) {
  const symbols = ["circle", "square", "diamond", "triangle-up", "pentagon"];
  const {accent, muted} = theme();
  const data = curves.map((c, i) => {
    const at = levels.map((_, place) => place).filter((place) => c.y[place]);
    const y = at.map((place) => c.y[place]);
    const tone = i % 2 ? muted : accent;
    return {
      type: "scatter", mode: "lines+markers", name: text(c.label), showlegend: true, opacity: 1 - 0.5 * Math.floor(i / 2) / Math.max(1, Math.floor(curves.length / 2)),
      x: at, y: y.map(([centre]) => centre), error_y: {...errors(y), color: tone},
      customdata: at.map((place, k) => `<b>${text(`${factor} ${levels[place]}, ${c.label}`)}</b><br>${withBounds(y[k], "J")}`),
      hovertemplate: "%{customdata}<extra></extra>",
      line: {color: tone, width: 2}, marker: {color: tone, size: 9, symbol: symbols[i % symbols.length]},
    };
  });
  const places = levels.map((_, place) => place);
  const x = {...axis(-0.4, levels.length - 0.6, false, places, levels.map(text), text(factor)), showgrid: false};
  const values = curves.flatMap((c) => c.y.filter(Boolean).flatMap((v) => v.slice(0, 3)));
  const legend = {orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: {size: 11, color: theme().ink}};
  return {data, layout: layout(x, amounts(values, "J", chosen.log), {height: 320, showlegend: true, legend, margin: {l: 56, r: 10, t: 34, b: 44}})};
}

// Each repetition of a choice against the median of all of them, the middle half of them as a bar.
function repetitions({unit, words, rows}, chosen) {
  const shown = rows.filter((row) => chosen.variants.has(row.variant));
  if (!shown.length) return nothing("Nothing is chosen.");
  const signed = (off) => `${off > 0 ? "+" : ""}${Number((100 * off).toPrecision(2))}${unit === "J" ? " %" : ""}`.replace("-", "−");
  const far = 1.15 * Math.max(0.005, ...shown.flatMap(({points}) => points.map(({off}) => Math.abs(off))));
  const ticks = steps(-far, far, 6, false);
  const title = unit === "J" ? "difference from the median" : "difference from the median, percentage points";
  const x = axis(-far, far, false, ticks, ticks.map(signed), title);
  const named = shown.every(({label}) => label.length < 25); // the key has longer ones
  const height = (i) => -i;
  const y = {...axis(-shown.length + 0.3, 0.7, false, shown.map((_, i) => height(i)), shown.map(({label}) => (named ? text(label) : ""))), showgrid: false};
  const data = [{type: "scatter", mode: "lines", hoverinfo: "skip", x: [0, 0], y: [-shown.length + 0.3, 0.7], line: {color: theme().muted, width: 1}}];
  shown.forEach((row, i) => {
    const tone = colour(row.variant);
    if (row.middle) data.push({type: "scatter", mode: "lines", hoverinfo: "skip", x: row.middle, y: [height(i), height(i)], line: {color: `${tone}44`, width: 12}});
    data.push({
      type: "scatter", mode: "markers", name: "", cliponaxis: false,
      x: row.points.map(({off}) => off), y: row.points.map(() => height(i)),
      customdata: row.points.map((p) => `<b>${text(row.label)}</b>, repetition ${p.number}<br>${text(words)} ${unit === "J" ? si(p.value, "J", 4) : percent(p.value)} (${signed(p.off)})${p.flagged ? "<br>flagged" : ""}`),
      hovertemplate: "%{customdata}<extra></extra>",
      marker: {
        symbol: row.points.map((p) => (p.flagged ? "x" : page.styles[row.variant].symbol + (row.estimated ? "-open" : ""))),
        size: 8, color: tone, opacity: 0.75, line: {width: row.estimated ? 1.5 : 0, color: tone},
      },
    });
  });
  return {data, layout: layout(x, y, {height: 70 + 26 * shown.length, margin: {l: named ? 110 : 20, r: 16, t: 8, b: 44}})};
}

// Choices side by side, a bar for each machine. Bars begin at zero: the axis is never logarithmic.
function bars({unit, words, groups, series}, chosen) {
  const shown = series.filter((one) => chosen.variants.has(one.variant));
  if (!shown.length) return nothing("Nothing is chosen.");
  const values = shown.flatMap(({y}) => y.filter(Boolean).flatMap((v) => v.slice(0, 3)));
  const up = unit === "%" ? shares([0, ...values.map((v) => Math.min(1, v))]) : amounts(values, unit, false);
  const data = shown.map((one) => {
    const at = groups.map((_, i) => i).filter((i) => one.y[i]);
    const y = at.map((i) => one.y[i]);
    const tone = colour(one.variant);
    const label = text(one.label + (one.estimated ? " (estimated)" : ""));
    return {
      type: "bar", name: label, x: at, y: y.map(([centre]) => centre), error_y: {...errors(y), color: theme().ink},
      customdata: at.map((i, k) => `<b>${text(groups[i])}</b><br>${text(words)} ${worded(y[k], unit)}`),
      hovertemplate: `%{customdata}<extra>${label}</extra>`,
      marker: {color: one.estimated ? `${tone}33` : tone, line: {color: tone, width: one.estimated ? 1.5 : 0}},
    };
  });
  const names = groups.map((group) => text(group.length > 22 ? `${group.slice(0, 21)}…` : group));
  const x = {...axis(-0.5, groups.length - 0.5, false, groups.map((_, i) => i), names), showgrid: false, tickangle: groups.length > 4 ? -35 : 0};
  return {data, layout: layout(x, up, {height: 340, barmode: "group", bargap: 0.25, margin: {l: 56, r: 10, t: 8, b: groups.length > 4 ? 110 : 44}})};
}
