"use strict";
// Draws the page's data as the controls ask: no network, nothing kept. A chart is drawn
// when it comes into view, and plotly is read after the text has been painted.

const page = JSON.parse(document.getElementById("figures").textContent);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";
const PRINT_WIDTH = 330;
const dark = matchMedia("(prefers-color-scheme: dark)");
let printing = false;

// Plotly reads tags in text; a name from a user is text.
const text = (name) => String(name).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const theme = () => page.themes[dark.matches && !printing ? "dark" : "light"];
const colour = (variant) => page.styles[variant][dark.matches && !printing ? "dark" : "light"];

function si(value, unit, digits = 3) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return `0 ${unit}`;
  const prefixes = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"]];
  const rounded = Number(value.toPrecision(digits));
  const [scale, prefix] = prefixes.find(([s]) => Math.abs(rounded) >= s) ?? prefixes.at(-1);
  return `${Number((rounded / scale).toPrecision(digits))} ${prefix}${unit}`;
}

function withBounds([centre, low, high, kind], unit) {
  const interval = kind === "none" ? "one repetition" : `${kind === "t" ? "95 %" : "range"}: ${si(low, unit)} … ${si(high, unit)}`;
  return `${si(centre, unit)} (${interval})`;
}

const times = (value, factor) => [value[0] * factor, value[1] * factor, value[2] * factor, value[3]];

// Axes -------------------------------------------------------------------------------------------

function steps(low, high, most, log) {
  const found = [];
  if (log) {
    for (const marks of [[1, 1.5, 2, 3, 4, 5, 6, 8], [1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
      found.length = 0;
      for (let decade = Math.floor(Math.log10(low)); decade <= Math.ceil(Math.log10(high)); decade++) {
        for (const mark of marks) {
          const tick = Number(`${mark}e${decade}`);
          if (tick >= low && tick <= high) found.push(tick);
        }
      }
      if (found.length <= most) break;
    }
    return found;
  }
  const decade = 10 ** Math.floor(Math.log10((high - low) / most));
  const step = [1, 2, 5, 10].map((m) => m * decade).find((s) => (high - low) / s <= most);
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(i * step);
  return found;
}

function axis(low, high, log, ticks, labels, title) {
  return {
    type: log ? "log" : "linear",
    range: log ? [Math.log10(low), Math.log10(high)] : [low, high],
    tickvals: ticks, ticktext: labels, tickangle: 0,
    title: title ? {text: title, font: {size: 11.5}, standoff: 6} : undefined,
    gridcolor: theme().grid, linecolor: theme().muted,
    zeroline: false, automargin: true,
    fixedrange: true, // a page that scrolls must not zoom a chart
  };
}

function amounts(values, unit, log, title = "", most = title ? 4 : 6) {
  const shown = log ? values.filter((value) => value > 0) : values; // net energy may be below zero
  let low = Math.min(...shown) / 1.12;
  let high = Math.max(...shown) * 1.12;
  if (!log) [low, high] = [Math.min(0, 1.12 * Math.min(...shown)), Math.max(0, high)];
  else if (high / low < 3) { // a difference of two percent must not fill a panel
    const middle = Math.sqrt(low * high);
    [low, high] = [middle / Math.sqrt(3), middle * Math.sqrt(3)];
  }
  const ticks = steps(low, high, most, log);
  return axis(low, high, log, ticks, ticks.map((tick) => si(tick, unit)), title);
}

function batches(sizes, log) {
  const known = [...new Set(sizes)].sort((a, b) => a - b);
  const last = known.at(-1);
  const place = (size) => (log ? Math.log2(size) : size);
  const least = (place(last) - place(known[0])) / 8;
  const shown = [];
  for (const size of known) if (!shown.length || place(size) - place(shown.at(-1)) >= least) shown.push(size);
  const ends = log ? [known[0] / 1.35, last * 1.35] : [0, last * 1.06];
  return {...axis(...ends, log, shown, shown.map(String), "batch size"), showgrid: false, showline: true};
}

function layout(x, y, more = {}) {
  return {
    xaxis: {...x, showline: true}, yaxis: y, height: 270,
    ...(printing ? {width: PRINT_WIDTH} : {autosize: true}),
    margin: {l: 56, r: 10, t: 8, b: 44}, showlegend: false, hovermode: "closest",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {family: FONT, size: 11.5, color: theme().muted},
    hoverlabel: {bgcolor: theme().paper, bordercolor: theme().muted, font: {color: theme().ink}, align: "left"},
    ...more,
  };
}

const nothing = (why) => ({
  data: [],
  layout: layout({visible: false, fixedrange: true}, {visible: false, fixedrange: true}, {
    annotations: [{text: why, showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5}],
  }),
});

const errors = (values) => ({
  type: "data", symmetric: false, thickness: 1.2, width: 3,
  visible: values.some(([, low, high]) => low !== high),
  array: values.map(([centre, , high]) => Math.max(0, high - centre)),
  arrayminus: values.map(([centre, low]) => Math.max(0, centre - low)),
});

function line(curve, x, y, notes, name = curve.label) {
  const label = text(name + (curve.estimated ? " (estimated)" : ""));
  const second = curve.layer > 0;
  const tone = colour(curve.variant);
  return {
    type: "scatter", mode: second ? "lines" : "lines+markers", name: label,
    x, y: y.map(([centre]) => centre), error_y: {...errors(y), color: tone},
    customdata: notes, hovertemplate: `%{customdata}<extra>${label}</extra>`,
    line: {color: tone, width: second ? 1.4 : 2.2, dash: second ? "dot" : curve.estimated ? "dash" : "solid"},
    marker: {
      symbol: page.styles[curve.variant].symbol + (curve.estimated ? "-open" : ""),
      size: 8, color: tone, line: {width: 2, color: tone},
    },
  };
}

// The points of a curve that have a figure which its axis can show.
function kept(curve, values, log) {
  const at = curve.sizes.map((_, i) => i).filter((i) => values[i] && (!log || values[i][0] > 0));
  const pick = (list) => at.map((i) => list[i]);
  const more = curve.x ? {x: pick(curve.x), pareto_status: pick(curve.pareto_status)} : {};
  return {...curve, sizes: pick(curve.sizes), y: pick(values), ...more};
}

// Curves of the backends that are chosen, and why there is none.
function chosenCurves(facts, chosen, values) {
  const curves = facts.curves.filter((c) => chosen.variants.has(c.variant));
  const drawn = curves.map((c) => kept(c, values(c), chosen.log)).filter((c) => c.sizes.length);
  return [drawn, curves.length ? "Net energy is not known here." : "No backend is chosen."];
}

const ends = (curves) => curves.flatMap(({y}) => y.flatMap(([centre, low, high]) => [centre, low, high]));

// Figures ----------------------------------------------------------------------------------------

const UNITS = {energy: "J", latency: "s"};
const PER = {
  energy: {image: "per image", batch: "per batch"},
  latency: {image: "over the images in the batch", batch: "of the batch"},
};

function overBatch(facts, chosen) {
  const unit = UNITS[facts.kind];
  const per = chosen.per[facts.kind];
  const own = facts.kind === "energy" ? "image" : "batch"; // what the data are in
  const net = chosen.net && facts.kind === "energy";
  const [curves, why] = chosenCurves(facts, chosen, (c) => (net ? c.net : c.y).map((v, i) =>
    v && times(v, per === own ? 1 : per === "batch" ? c.sizes[i] : 1 / c.sizes[i])));
  if (!curves.length) return nothing(why);
  const data = curves.map((c) => line(c, c.sizes, c.y, c.sizes.map((size, i) =>
    `<b>batch ${size}</b><br>${net ? "net " : ""}${c.words} ${withBounds(c.y[i], unit)}<br>${PER[facts.kind][per]}`)));
  const x = batches(curves.flatMap((c) => c.sizes), chosen.log);
  return {data, layout: layout(x, amounts(ends(curves), unit, chosen.log))};
}

const PARETO_STATUS = {
  front: ["<br>on the Pareto front", 9.5, 1],
  unsure: ["<br>not shown to be dominated", 7, 0.75],
  dominated: ["<br>dominated", 5.5, 0.45],
};

function tradeoff(facts, chosen) {
  const source = (c) => (chosen.net ? {...c, y: c.net, pareto_status: c.net_pareto_status} : c);
  const [curves, why] = chosenCurves({curves: facts.curves.map(source)}, chosen, (c) => c.y.map((v, i) =>
    v && (chosen.per.tradeoff === "batch" ? times(v, c.sizes[i]) : v)));
  if (!curves.length) return nothing(why);
  const data = curves.map((c) => {
    const places = c.pareto_status.map((place) => PARETO_STATUS[place] ?? ["", 8, 1]);
    const trace = line(c, c.x.map(([centre]) => centre), c.y, c.sizes.map((size, i) =>
      `<b>batch ${size}</b><br>${withBounds(c.x[i], "s")} p50<br>${withBounds(c.y[i], "J")} ${chosen.net ? "net " : ""}per ${chosen.per.tradeoff}${places[i][0]}`));
    return {
      ...trace, cliponaxis: false, mode: "lines+markers+text", // labels may stand beyond the last point
      text: c.sizes.map((size, i) => (c.pareto_status[i] === "front" ? `<b>${size}</b>` : "")),
      textposition: "bottom left", textfont: {size: 10.5, color: colour(c.variant)},
      line: {...trace.line, width: 1.2},
      marker: {...trace.marker, size: places.map(([, size]) => size), opacity: places.map(([, , o]) => o)},
    };
  });
  const delays = curves.flatMap((c) => c.x.map(([centre]) => centre));
  return {data, layout: layout(amounts(delays, "s", chosen.log, "p50 latency of a batch"), amounts(ends(curves), "J", chosen.log))};
}

const POLICIES = {greedy: "circle", fixed: "square", dynamic: "diamond"};
const SERVERS = {
  front: ["<br>on the Pareto front", 10, 1],
  unsure: ["<br>not shown to be dominated", 8.5, 0.85],
  dominated: ["<br>dominated", 7, 0.7],
  overloaded: ["<br>does not sustain the rate", 7, 0.3],
};
const MOST_NAMED = 8; // of more servers, those on the Pareto front have their policy beside them

const status = (p, {net}) => SERVERS[net ? p.net_pareto_status : p.pareto_status] ?? ["", 7, 1];

function serving({curves}, chosen, room) {
  const when = chosen.per.serving;
  const energy = (p) => (chosen.net ? p.net : p.energy);
  const visible = curves.filter((c) => chosen.variants.has(c.variant));
  const shown = visible.map((c) => ({...c, points: c.points.filter((p) =>
    energy(p) && p[when] && (!chosen.log || energy(p)[0] > 0))})).filter((c) => c.points.length);
  if (!shown.length) return nothing(visible.length ? "Net energy is not known here." : "No backend is chosen.");
  const x = (p) => p[when][0];
  const y = (p) => energy(p)[0];
  const data = shown.map((c) => {
    const notes = c.points.map((p) => `<b>${text(p.policy)}</b><br>${withBounds(p[when], "s")} ${when}<br>`
      + `${withBounds(energy(p), "J")} ${chosen.net ? "net " : ""}per request${status(p, chosen)[0]}`);
    const trace = line(c, c.points.map(x), c.points.map(energy), notes);
    const symbol = POLICIES[c.policy] + (c.estimated ? "-open" : "");
    return {
      ...trace, cliponaxis: false, line: {...trace.line, width: 1.2},
      marker: {...trace.marker, symbol, size: c.points.map((p) => status(p, chosen)[1]), opacity: c.points.map((p) => status(p, chosen)[2])},
    };
  });
  const points = shown.flatMap((c) => c.points);
  const times = points.map(x);
  const end = Math.max(...times) * (chosen.log ? 1.8 : 1.15); // for the last policy's name
  const across = amounts([...times, end], "s", chosen.log, `response time, ${when === "mean" ? "mean" : "99th percentile"}`);
  const up = amounts(points.flatMap((p) => energy(p).slice(0, 3)), "J", chosen.log);
  const front = (p) => status(p, chosen) === SERVERS.front;
  const order = [...points.filter(front), ...points.filter((p) => !front(p) && points.length <= MOST_NAMED)];
  const found = placed(order.map((p) => [x(p), y(p), 7, p.policy, true]), across, up, room, 264);
  const named = order.filter((_, i) => found[i]);
  const [labels, sides] = [named.map((p) => p.policy), found.filter(Boolean)];
  data.push({
    type: "scatter", mode: "markers+text", x: named.map(x), y: named.map(y), text: labels.map(text),
    textposition: sides, textfont: {size: 10.5, color: theme().ink}, hoverinfo: "skip", cliponaxis: false,
    marker: {size: 12, opacity: 0}, // keeps the words off the point
  });
  return {data, layout: layout(across, up)};
}

// Energy or response time of servers, a place for each policy.
function byPolicy({kind, policies, curves}, chosen) {
  const ofEnergy = kind === "serving-energy";
  const when = chosen.per["serving-response"];
  const value = (p) => (ofEnergy ? (chosen.net ? p.net : p.energy) : p[when]);
  const visible = curves.filter((c) => chosen.variants.has(c.variant));
  const shown = visible.map((c) => ({...c, points: c.points.filter((p) =>
    value(p) && (!chosen.log || value(p)[0] > 0))})).filter((c) => c.points.length);
  if (!shown.length) return nothing(visible.length ? "Net energy is not known here." : "No backend is chosen.");
  const unit = ofEnergy ? "J" : "s";
  const words = ofEnergy ? `${chosen.net ? "net " : ""}per request` : when;
  const data = shown.map((c) => {
    const notes = c.points.map((p) => `<b>${text(p.policy)}</b><br>${withBounds(value(p), unit)} ${words}${status(p, chosen)[0]}`);
    const trace = line(c, c.points.map((p) => policies.indexOf(p.policy)), c.points.map(value), notes);
    const symbol = POLICIES[c.policy] + (c.estimated ? "-open" : "");
    const opacity = c.points.map((p) => (status(p, chosen) === SERVERS.overloaded ? SERVERS.overloaded[2] : 1));
    return {...trace, marker: {...trace.marker, symbol, opacity}};
  });
  const short = policies.length <= MOST_NAMED;
  const names = policies.map((policy) => text(short ? policy.replace(":", "\n") : policy).replace("\n", "<br>"));
  const places = policies.map((_, place) => place);
  const x = {...axis(-0.5, policies.length - 0.5, false, places, names, "batching policy"), tickangle: short ? 0 : -90, showgrid: false};
  const values = shown.flatMap((c) => c.points.flatMap((p) => value(p).slice(0, 3)));
  return {data, layout: layout(x, amounts(values, unit, chosen.log))};
}

function timeline({view, points, fronts}, chosen, room) {
  const most = Math.max(...points.map((p) => p.parameters ?? 0), 1);
  const {ink, muted, accent} = theme();
  const estimated = points.some((p) => p.estimated);
  const kind = estimated ? " (estimated)" : "";
  const width = (p) => 9 + 27 * Math.sqrt((p.parameters ?? 0) / most); // area goes with parameters
  const x = (p) => (view === "front" ? p.energy[0] : p.year);
  const y = (p) => (view === "energy" ? p.energy : [...p.top1.map((v) => v ?? p.top1[0]), "t"]);
  const note = (p) => [
    `<b>${text(p.model)}</b> ${p.year}`,
    `top-1 ${p.top1[0].toFixed(1)} %` + (p.measured
      ? ` measured here (95 %: ${p.top1[1].toFixed(1)} … ${p.top1[2].toFixed(1)})` : " as published"),
    `${withBounds(p.energy, "J")} per ${p.per}${kind}`, text(p.how),
    p.parameters ? `${si(p.parameters, "").trim()} parameters` : "parameters unknown",
    p.front ? "on the Pareto front when published" : "",
  ].filter(Boolean).join("<br>");
  const data = [];
  const rule = (xs, ys, tone, more = {}) => data.push({
    type: "scatter", mode: "lines", x: xs, y: ys, hoverinfo: "skip",
    line: {shape: "hv", width: 1.6, color: tone, dash: estimated && view !== "accuracy" ? "dash" : "solid"}, ...more,
  });
  const years = points.map((p) => p.year);
  const last = Math.max(...years) + 1;
  const energies = points.flatMap(({energy}) => energy.slice(0, 3));
  const dearest = Math.max(...energies);
  const top1s = points.flatMap((p) => p.top1.filter((v) => v !== null));
  if (view === "front") {
    const right = dearest * 1.8;
    fronts.forEach(({year, models}, i) => {
      const on = models.map((name) => points.find((p) => p.model === name));
      const end = on.at(-1).top1[0];
      const alike = fronts.filter(({models: others}) => points.find((p) => p.model === others.at(-1)).top1[0] === end);
      const tone = i === fronts.length - 1 ? accent : muted;
      rule([...on.map((p) => p.energy[0]), right], [...on.map((p) => p.top1[0]), end], tone, {
        opacity: 0.3 + 0.7 * (i + 1) / fronts.length, mode: "lines+text", cliponaxis: false,
        text: [...on.map(() => ""), alike[0].year === year ? alike.map((front) => front.year).join(", ") : ""],
        textposition: "middle right", textfont: {size: 10.5, color: tone},
      });
    });
  } else {
    const better = view === "energy" ? (a, b) => a < b : (a, b) => a > b;
    const best = points.filter((p) => !points.some((o) => o.year <= p.year && better(y(o)[0], y(p)[0])));
    rule([...best.map(x), last], [...best.map((p) => y(p)[0]), y(best.at(-1))[0]], accent);
  }
  const percent = () => {
    const low = Math.max(0, Math.min(...top1s) - 8);
    const high = Math.min(108, Math.max(...top1s) + 10);
    const ticks = steps(low, Math.min(100, high), 6, false);
    return axis(low, high, false, ticks, ticks.map((tick) => `${tick} %`));
  };
  const watts = (title) => amounts([...energies, dearest * 3, Math.min(...energies) / 2], "J", chosen.log, title);
  const marks = steps(Math.min(...years) - 1, last, 6, false).filter(Number.isInteger);
  const across = view === "front"
    ? watts(`energy per ${points[0].per}${kind}`)
    : {...axis(Math.min(...years) - 2.5, last + 1.5, false, marks, marks.map(String), "year of publication"), showgrid: false};
  const up = view === "energy" ? watts("") : percent();
  const named = points.map((p) => (points.length <= 14 || p.front ? p.model : ""));
  const spots = placed(points.map((p, i) => [x(p), y(p)[0], width(p) / 2, named[i]]), across, up, room);
  data.push({
    type: "scatter", mode: "markers+text", name: "", cliponaxis: false,
    x: points.map(x), y: points.map((p) => y(p)[0]), error_y: {...errors(points.map(y)), color: muted},
    text: named.map(text), textposition: spots, textfont: {size: 10.5, color: ink},
    customdata: points.map(note), hovertemplate: "%{customdata}<extra></extra>",
    marker: {
      symbol: points.map((p) => (p.measured ? "circle" : "circle-open")), size: points.map(width),
      color: points.map((p) => (p.front ? accent : muted)), opacity: 0.9,
      line: {width: 2, color: points.map((p) => (p.front ? accent : muted))},
    },
  });
  const margin = {l: 56, r: view === "front" ? 62 : 10, t: 8, b: 44}; // years stand beside their fronts
  return {data, layout: layout(across, up, {height: 320, margin})};
}

// A line for each network along its cells on the Pareto front; the paler, the less accurate.
function accuracy({points}, chosen, room) {
  const energy = (p) => (chosen.net ? p.net : p.energy);
  const status = (p) => (chosen.net ? p.net_pareto_status : p.pareto_status);
  const shown = points.filter((p) => energy(p) && (!chosen.log || energy(p)[0] > 0) && status(p)
    && chosen.variants.has(p.variant) && (chosen.model === "" || p.model === chosen.model));
  if (!shown.length) {
    return nothing(chosen.variants.size ? "Net energy is not known here." : "No backend is chosen.");
  }
  const {ink, muted, accent} = theme();
  const kind = points.some((p) => p.estimated) ? " (estimated)" : "";
  const note = (p) => [
    `<b>${text(p.model)}</b> ${text(p.how)}`,
    `top-1 ${p.top1[0].toFixed(1)} %` + (p.measured
      ? ` measured here (95 %: ${p.top1[1].toFixed(1)} … ${p.top1[2].toFixed(1)})` : " as published"),
    `${withBounds(energy(p), "J")} ${chosen.net ? "net " : ""}per image${kind}`, `${withBounds(p.latency, "s")} p50`,
    {front: "on the Pareto front", unsure: "not shown to be dominated", dominated: "dominated"}[status(p)],
  ].join("<br>");
  const levels = [...new Set(points.map((p) => p.top1[0]))].sort((a, b) => a - b);
  const strength = (p) => 0.45 + 0.55 * (levels.length > 1 ? levels.indexOf(p.top1[0]) / (levels.length - 1) : 1);
  const models = [...new Set(points.map((p) => p.model))];
  const x = ({latency}) => latency[0];
  const y = (p) => energy(p)[0];
  const spots = (some, more) => ({
    type: "scatter", name: "", cliponaxis: false, x: some.map(x), y: some.map(y),
    customdata: some.map(note), hovertemplate: "%{customdata}<extra></extra>", ...more,
  });
  const rest = shown.filter((p) => status(p) !== "front");
  const data = [spots(rest, {mode: "markers", marker: {size: 5, color: muted, opacity: 0.3}})];
  const named = [];
  for (const model of models) {
    const front = shown.filter((p) => p.model === model && status(p) === "front").sort((a, b) => x(a) - x(b));
    if (!front.length) continue;
    named.push(front.at(-1));
    const hollow = front[0].measured ? "" : "-open";
    const symbol = ["circle", "square", "diamond", "triangle-up", "pentagon"][models.indexOf(model) % 5] + hollow;
    data.push(spots(front, {
      mode: "lines+markers", opacity: strength(front[0]),
      line: {color: accent, width: 1.6, dash: kind ? "dash" : "solid"},
      marker: {symbol, size: 9, color: accent, line: {width: 2, color: accent}},
    }));
  }
  const across = amounts(shown.map(x), "s", chosen.log, "p50 latency of a batch");
  const up = amounts(shown.flatMap((p) => energy(p).slice(0, 3)), "J", chosen.log);
  const labels = named.map((p) => `${p.model} ${p.top1[0].toFixed(1)} %`);
  const sides = placed(named.map((p, i) => [x(p), y(p), 7, labels[i]]), across, up, room, 354, "middle right");
  data.push({
    type: "scatter", mode: "markers+text", x: named.map(x), y: named.map(y), text: labels.map(text),
    textposition: sides, textfont: {size: 11, color: ink}, hoverinfo: "skip", cliponaxis: false,
    marker: {size: 12, opacity: 0}, // keeps the words off the point
  });
  return {data, layout: layout(across, up, {height: 360, margin: {l: 56, r: 14, t: 14, b: 44}})};
}

// For each label the first side of its point where it covers no point and no other label. One that
// may be left out has no side where there is none.
function placed(labels, across, up, room, height = 320, first = "top center") {
  const scale = ({type, range}, length) => (value) =>
    ((type === "log" ? Math.log10(value) : value) - range[0]) / (range[1] - range[0]) * length;
  const [toX, toY] = [scale(across, room - 66), scale(up, height - 52)];
  const points = labels.map(([a, b, radius]) => [toX(a) - radius, toY(b) - radius, toX(a) + radius, toY(b) + radius]);
  const taken = [...points];
  return labels.map(([a, b, radius, name, optional], i) => {
    const [px, py, wide] = [toX(a), toY(b), 6.1 * name.length];
    const boxes = {
      "top center": [px - wide / 2, py + radius, px + wide / 2, py + radius + 14],
      "bottom center": [px - wide / 2, py - radius - 14, px + wide / 2, py - radius],
      "middle left": [px - radius - wide, py - 7, px - radius, py + 7],
      "middle right": [px + radius, py - 7, px + radius + wide, py + 7],
    };
    const free = (box) => box[0] > -20 && box[2] < room - 60 && taken.every((other) => other === points[i]
      || box[2] < other[0] || box[0] > other[2] || box[3] < other[1] || box[1] > other[3]);
    const spot = [first, ...Object.keys(boxes)].find((name) => free(boxes[name])) ?? (optional ? null : "top center");
    if (spot) taken.push(boxes[spot]);
    return spot;
  });
}

const KINDS = {sampled: "sampled", counter: "mean between readings of the counter", estimated: "estimated"};

function power({cells}, chosen) {
  const cell = cells[chosen.cell] ?? cells[0];
  const domains = [...new Set(cell.traces.map((t) => t.domain))];
  const others = page.styles.map((_, i) => i).filter((i) => i !== cell.variant);
  const tone = (domain) => colour([cell.variant, ...others][domains.indexOf(domain) % page.styles.length]);
  const dashes = ["solid", "dot", "dashdot"];
  const data = cell.traces.map((trace) => {
    const label = text(`${trace.domain}, repetition ${trace.block + 1}`);
    const alone = domains.length === 1 || page.styles.length > domains.indexOf(trace.domain);
    return {
      type: "scatter", mode: "lines", name: label, x: trace.t, y: [...trace.w, trace.w.at(-1)],
      line: {
        shape: "hv", color: tone(trace.domain), width: 1.8,
        dash: trace.kind === "estimated" ? "dash" : alone ? "solid" : dashes[domains.indexOf(trace.domain) % 3],
      },
      opacity: [1, 0.7, 0.45][trace.block % 3],
      hovertemplate: `%{y:.3~s}W at %{x:.2f} s<br>${KINDS[trace.kind]}<extra>${label}</extra>`,
    };
  });
  const windows = [...new Set(cell.traces.map((t) => t.window))];
  const from = Math.min(0, ...cell.traces.map((t) => t.t[0]));
  const to = Math.max(...windows, ...cell.traces.map((t) => t.t.at(-1)));
  const margin = 0.04 * (to - from);
  const ticks = steps(0, to, 8, false);
  const shapes = windows.map((end) => ({
    type: "rect", xref: "x", yref: "paper", x0: 0, x1: end, y0: 0, y1: 1, layer: "below",
    line: {width: 0}, fillcolor: theme().accent, opacity: 0.22 / windows.length,
  }));
  shapes.push({type: "line", xref: "x", yref: "paper", x0: 0, x1: 0, y0: 0, y1: 1, line: {width: 1, dash: "dot", color: theme().muted}});
  const annotations = [{text: "window", showarrow: false, xref: "x", yref: "paper", x: 0, y: 1, xanchor: "left", yanchor: "top", font: {size: 11, color: theme().accent}}];
  const seconds = {...axis(from - margin, to + margin, false, ticks, ticks.map((t) => si(t, "s")), "time since the window began"), showgrid: false};
  const watts = amounts(cell.traces.flatMap((t) => t.w.map((w) => Math.max(w, 1e-3))), "W", false);
  document.getElementById("power-summary").textContent =
    `${cell.model} on ${cell.how}: ${domains.join(", ")}, ${[...new Set(cell.traces.map((t) => KINDS[t.kind]))].join(", ")}.`;
  return {data, layout: layout(seconds, watts, {height: 300, shapes, annotations})};
}

// The page ---------------------------------------------------------------------------------------

// A page with figures of its own includes them before this file, e.g. training.js.
const DRAW = {energy: overBatch, latency: overBatch, tradeoff, serving, "serving-energy": byPolicy, "serving-response": byPolicy, accuracy, timeline, power, ...globalThis.ownFigures};
const OF_ENERGY = new Set(["energy", "tradeoff", "serving", "serving-energy", "accuracy"]);
const field = (id) => document.getElementById(id);

function choice() {
  const radio = (name) => document.querySelector(`input[name="${name}"]:checked`)?.value;
  return {
    model: field("choose-model")?.value ?? "",
    variants: new Set(all("input[data-variant]:checked").map((box) => Number(box.dataset.variant))),
    log: radio("scale") !== "linear",
    net: radio("energy") === "net",
    per: {energy: radio("per-energy") ?? "image", latency: radio("per-latency") ?? "batch", tradeoff: radio("per-tradeoff") ?? "image", serving: radio("per-serving") ?? "p99", "serving-response": radio("per-serving-response") ?? "mean"},
    cell: Number(field("choose-cell")?.value ?? 0),
  };
}

function draw(name, chosen) {
  const facts = page.charts[name];
  const {data, layout: shape} = DRAW[facts.kind](facts, chosen, printing ? PRINT_WIDTH : field(name).clientWidth);
  Plotly.react(name, data, shape, {responsive: true, displayModeBar: false});
}

const stale = new Set();
const MARGIN = 400; // px above and below the window in which a chart is drawn beforehand
let busy = false;

// Plotly stands in the page as text, so that nothing waits for it to be read.
function load() {
  const source = field("plotly");
  if (!source) return;
  const script = document.createElement("script");
  script.textContent = source.textContent;
  source.remove();
  document.head.append(script);
}

function near(name) {
  if (printing) return true;
  const box = field(name).getBoundingClientRect();
  return box.width > 0 && box.bottom > -MARGIN && box.top < innerHeight + MARGIN;
}

function update(only = () => true) {
  const {model, net} = choice();
  for (const figure of all("figure[data-model]")) figure.hidden = model !== "" && figure.dataset.model !== model;
  for (const note of all(".none")) note.hidden = all("figure", note.parentElement).some((figure) => !figure.hidden);
  for (const words of all("[data-energy]")) words.hidden = words.dataset.energy !== (net ? "net" : "gross");
  for (const name of Object.keys(page.charts)) if (only(page.charts[name].kind)) stale.add(name);
  start();
}

function start() {
  document.documentElement.dataset.drawn = "no";
  if (printing) next();
  else if (!busy) {
    busy = true;
    setTimeout(next);
  }
}

// One chart at a time, so that the page answers meanwhile; all at once for the printer.
function next() {
  do {
    const name = [...stale].find((one) => !field(one).closest("figure").hidden && near(one));
    if (name === undefined) {
      busy = false;
      document.documentElement.dataset.drawn = "yes";
      return;
    }
    load();
    stale.delete(name);
    draw(name, choice());
  } while (printing);
  setTimeout(next);
}

for (const element of all("[data-script]")) element.hidden = false;
field("choose-model")?.addEventListener("change", () => {
  const cells = page.charts["power-0"]?.cells ?? [];
  const first = cells.findIndex((cell) => cell.model === choice().model);
  if (first >= 0) field("choose-cell").value = String(first);
  update();
});
for (const input of all("input[data-variant], input[name=scale]")) input.addEventListener("change", () => update((kind) => kind !== "power"));
for (const input of all("input[name=energy]")) input.addEventListener("change", () => update((kind) => OF_ENERGY.has(kind)));
for (const input of all("input[name^=per-]")) input.addEventListener("change", () => update((kind) => `per-${kind}` === input.name));
field("choose-cell")?.addEventListener("change", () => update((kind) => kind === "power"));
dark.addEventListener("change", () => update());
addEventListener("beforeprint", () => {
  printing = true;
  for (const folded of all("details")) folded.open = true;
  update();
});
addEventListener("afterprint", () => { printing = false; update(); });
const inView = new IntersectionObserver((entries) => {
  if (entries.some(({isIntersecting, target}) => isIntersecting && stale.has(target.id))) start();
}, {rootMargin: `${MARGIN}px 0px`});
for (const name of Object.keys(page.charts)) inView.observe(field(name));
// Two frames on, the text is on the screen; what is left of the work waits until then.
requestAnimationFrame(() => requestAnimationFrame(() => {
  update();
  (window.requestIdleCallback ?? setTimeout)(load);
}));
