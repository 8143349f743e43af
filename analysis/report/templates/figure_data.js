// The data of each figure as CSV: all of it, in SI units, whatever the controls show.

const COLUMNS = {
  energy: {y: "energy_per_image_J", net: "net_energy_per_image_J"},
  latency: {y: "latency_of_a_batch_s"},
  tradeoff: {x: "latency_p50_s", y: "energy_per_image_J", net: "net_energy_per_image_J"},
  serving: {energy: "energy_per_request_J", net: "net_energy_per_request_J", p99: "response_time_p99_s", mean: "response_time_mean_s"},
  timeline: {energy: "energy_J", top1: "top1_percent"},
  accuracy: {energy: "energy_per_image_J", net: "net_energy_per_image_J", latency: "latency_p50_s", top1: "top1_percent"},
  power: {t: "time_s", w: "power_W", window: "window_s", block: "block", kind: "source"},
  front: {energy: "energy_per_image_J", accuracy: "share"},
  interaction: {y: "energy_J"},
};
const ALIKE = {"serving-energy": "serving", "serving-response": "serving"};
const NAMES = {label: "series", sizes: "batch_size", words: "quantity", how: "cell"};
const LEFT_OUT = new Set(["variant", "layer", "policies", "fronts", "view", "shape", "unit"]);

// Shares are drawn in percent; here they are what they are.
const inColumn = (title, unit) => [title, unit === "%" ? "share" : unit].filter(Boolean).join(" ").replace(/\W+/g, "_");
const isFigure = (key, value) => key === "top1" || (value.length === 4 && typeof value[3] === "string" && typeof value[0] === "number");

function columnsOf({kind, x, y, unit}) {
  const own = COLUMNS[ALIKE[kind] ?? kind] ?? {};
  const axes = {...(x?.title && {x: inColumn(x.title, x.unit)}), ...(y?.unit !== undefined && {y: inColumn(y.words || "value", y.unit)})};
  return {...NAMES, ...axes, ...(unit && {value: inColumn("value", unit), y: inColumn("value", unit)}), ...own};
}

function put(row, name, value) {
  if (!Array.isArray(value)) row[name] = value;
  else ["", "_low", "_high", "_interval"].slice(0, value.length).forEach((end, i) => { row[name + end] = value[i]; });
  return row;
}

// A row for each point: members of what holds it stand in every row, and lists side by side are one point each.
function rowsOf(facts) {
  if (facts.kind === "interaction" && facts.levels) {
    const {levels, curves, ...rest} = facts;
    return rowsOf({...rest, curves: curves.map((curve) => ({...curve, level: levels}))});
  }
  const names = columnsOf(facts);
  const rows = [];
  const walk = (node, head) => {
    const members = Object.entries(node).filter(([key]) => !LEFT_OUT.has(key) && !(node === facts && key === "kind"));
    const lists = members.filter(([key, value]) => Array.isArray(value) && !isFigure(key, value));
    const own = {...head};
    for (const [key, value] of members) {
      if (value === null || typeof value !== "object" || (Array.isArray(value) && isFigure(key, value))) put(own, names[key] ?? key, value);
    }
    const inner = lists.filter(([, list]) => list.some((one) => one && typeof one === "object" && !Array.isArray(one)));
    if (inner.length) for (const one of inner.flatMap(([, list]) => list)) walk(one, own);
    else if (!lists.length) rows.push(own);
    else {
      const length = Math.min(...lists.map(([, list]) => list.length));
      for (let i = 0; i < length; i++) rows.push(lists.reduce((row, [key, list]) => put(row, names[key] ?? key, list[i]), {...own}));
    }
  };
  walk(facts, {});
  return rows;
}

function cellOf(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "string") return String(value);
  const plain = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value; // a spreadsheet must not compute it
  return /[",\n\r]/.test(plain) ? `"${plain.replace(/"/g, '""')}"` : plain;
}

function figureCsv(facts) {
  const rows = rowsOf(facts);
  const names = [...new Set(rows.flatMap(Object.keys))];
  return [names, ...rows.map((row) => names.map((name) => row[name]))].map((line) => line.map(cellOf).join(",")).join("\n") + "\n";
}

for (const button of document.querySelectorAll("button[data-figure]")) {
  button.addEventListener("click", () => {
    const name = button.dataset.figure;
    const facts = JSON.parse(document.getElementById("figures").textContent).charts[name];
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([figureCsv(facts)], {type: "text/csv"}));
    link.download = `${[name, facts.model].filter(Boolean).join("-").replace(/[^\w.-]+/g, "_")}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}
