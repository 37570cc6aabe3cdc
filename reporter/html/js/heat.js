// Counts in two dimensions: columns of time or of addresses, rows of times on a logarithmic scale.

function cellsOf(pairs) {
  const cells = [];
  let place = 0;
  for (let n = 0; n < pairs.length; n += 2) {
    place += pairs[n];
    cells.push([Math.floor(place / data.rows.count), place % data.rows.count, pairs[n + 1]]);
  }
  return cells;
}

function rowNs(row) {
  return data.rows.first_ns * 10 ** (row / data.rows.per_decade);
}

function rowText(row) {
  return `${timeText(rowNs(row))} to ${timeText(rowNs(row + 1))}`;
}

// For each column that has IOs: how many, and the upper edge of the row that holds a share of them.
function columnsOf(cells, shares) {
  const columns = new Map();
  for (const [column, row, count] of cells) {
    if (!columns.has(column)) columns.set(column, []);
    columns.get(column).push([row, count]);
  }
  return [...columns].map(([column, rows]) => {
    const total = rows.reduce((sum, [, count]) => sum + count, 0);
    const quantiles = shares.map((share) => {
      let passed = 0;
      return rows.find(([, count]) => (passed += count) >= share * total - 1e-9)[0] + 1;
    });
    return { column, total, quantiles };
  });
}

// A line is drawn between neighbours only: where nothing began, there is nothing to read.
function broken(columns) {
  return columns.flatMap((at, n) => (n && columns[n - 1].column < at.column - 1 ? [null, at] : [at]));
}

function mixed(low, high, part) {
  const parse = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
  const [from, to] = [parse(low), parse(high)];
  return `rgb(${from.map((value, n) => Math.round(value + (to[n] - value) * part)).join(",")})`;
}

// `view`: cells, begin and width of columns, x (its axis), columnText, lines (shares to draw as curves), color of lines.
function heatOption(view) {
  const most = Math.max(...view.cells.map((cell) => cell[2]), 2);
  const colours = Array.from({ length: 33 }, (_, n) => mixed(css("heat-low"), css("heat-high"), n / 32));
  const colour = (count) => colours[Math.round((32 * Math.log(count)) / Math.log(most))];
  const rows = view.cells.map((cell) => cell[1]);
  const decade = data.rows.per_decade;
  const x = (column) => view.begin + column * view.width;
  const columns = columnsOf(view.cells, view.lines);
  return {
    grid: { left: 66, right: 16, top: 30, bottom: 46 },
    legend: { top: 0, right: 0, textStyle: { color: css("ink") }, data: view.lines.map(percentileText) },
    xAxis: view.x,
    yAxis: axis("time an IO took", {
      type: "value",
      min: Math.floor(Math.min(...rows) / decade) * decade,
      max: Math.ceil((Math.max(...rows) + 1) / decade) * decade,
      interval: decade,
      nameTextStyle: { color: css("lesser"), align: "left", padding: [0, 0, 0, -50] },
      axisLabel: { formatter: (row) => timeText(rowNs(row)) },
    }),
    series: [
      {
        type: "custom",
        name: "IOs",
        data: view.cells.map(([column, row, count]) => [x(column), row, count, column]),
        encode: { x: 0, y: 1 },
        clip: true,
        renderItem: (params, api) => {
          const [left, bottom] = api.coord([api.value(0), api.value(1)]);
          const [right, top] = api.coord([api.value(0) + view.width, api.value(1) + 1]);
          const shape = { x: left, y: top, width: Math.max(right - left, 1) + 0.3, height: bottom - top + 0.3 };
          return { type: "rect", shape, style: { fill: colour(api.value(2)) } };
        },
        tooltip: {
          formatter: ({ value: [, row, count, column] }) =>
            tip(view.columnText(column), [
              ["", rowText(row)],
              ["", `${countText(count)} IOs`],
            ]),
        },
        markArea: view.areas,
      },
      ...view.lines.map((share, n) => ({
        type: "line",
        name: percentileText(share),
        data: broken(columns).map((at) => (at ? [x(at.column) + view.width / 2, at.quantiles[n]] : [null, null])),
        symbol: "circle",
        symbolSize: 3,
        silent: true,
        lineStyle: { color: view.colours[n], width: 2, type: n ? [5, 3] : "solid" },
        itemStyle: { color: view.colours[n] },
      })),
    ],
  };
}

function heatTable(cells, head, text) {
  const rows = columnsOf(cells, [0.5, 0.99, 1]).map(({ column, total, quantiles }) => [
    text(column),
    countText(total),
    ...quantiles.map((row) => timeText(rowNs(row))),
  ]);
  return tableOf([head, "IOs", "p50 at most", "p99 at most", "slowest at most"], rows);
}

function heatScale(id, words, cells) {
  const most = Math.max(...cells.map((cell) => cell[2]));
  document
    .getElementById(id)
    .replaceChildren(
      `${words} 1 IO`,
      element("span", { class: "gradient", "aria-hidden": "true" }),
      `${countText(most)} IOs in a field`,
    );
}

const lineColours = () => [css("median"), css("tail")];

function drawHeat() {
  const { begin_s: begin, width_s: width } = data.time;
  const decoded = new Map(data.layers.map((layer) => [layer.name, cellsOf(layer.cells)]));
  let shown = "all";
  const columnText = (column) =>
    `begun ${secondsText(begin + column * width)} to ${secondsText(begin + (column + 1) * width)}`;
  const names = data.layers.map((layer) => layer.name);
  if (!names.length) return undefined;
  const swatches = Object.fromEntries(data.layers.map((layer) => [layer.name, layer.colour]));
  chart(
    "heat",
    () =>
      heatOption({
        cells: decoded.get(shown),
        begin,
        width,
        x: timeAxis(),
        columnText,
        lines: [0.5, 0.99],
        colours: lineColours(),
        areas: lossArea(),
      }),
    "canvas",
  );
  tables.set("heat", () => heatTable(decoded.get(shown), "begun", columnText));
  function show(name) {
    shown = name;
    draw("heat");
    heatScale("heat-now", name === "all" ? "Latency, all layers together:" : `Own time of ${name}:`, decoded.get(name));
  }
  return choose("heat-layers", names, show, swatches);
}

function drawPlaces() {
  if (!data.places.length) return;
  let shown = data.places[0];
  const decoded = new Map(data.places.map((place) => [place, cellsOf(place.cells)]));
  const columnText = (column) =>
    `offset ${bytesText(column * shown.width)} to ${bytesText((column + 1) * shown.width)}`;
  const last = () => Math.max(...decoded.get(shown).map((cell) => cell[0])) + 1;
  const x = (wide) =>
    xAxis("address on the guest's disk", {
      min: 0,
      max: last() * shown.width,
      interval: niceBytes((last() * shown.width) / (wide ? 8 : 3)),
      axisLabel: { formatter: bytesText },
    });
  chart(
    "map",
    (wide) =>
      heatOption({
        cells: decoded.get(shown),
        begin: 0,
        width: shown.width,
        x: x(wide),
        columnText,
        lines: [],
        colours: [],
      }),
    "canvas",
  );
  tables.set("map", () => heatTable(decoded.get(shown), "address on the guest's disk", columnText));
  const names = data.places.map((place, n) =>
    data.places.findIndex((other) => other.disk === place.disk) === n ? place.disk : `${place.disk} (${n})`,
  );
  function show(name) {
    shown = data.places[names.indexOf(name)];
    draw("map");
    const size = shown.size ? ` of ${bytesText(shown.size)}` : "";
    heatScale("map-now", `Disk ${name}${size}, a column is ${bytesText(shown.width)} wide:`, decoded.get(shown));
  }
  choose("places-disks", names, show);
}

function niceBytes(about) {
  return 2 ** Math.ceil(Math.log2(Math.max(about, 1)));
}
