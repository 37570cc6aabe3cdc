// How much there was to do, over time and by size.

const OP_COLOURS = {
  read: "#0072B2",
  write: "#D55E00",
  flush: "#009E73",
  discard: "#CC79A7",
  "write-zeroes": "#E69F00",
  other: "#888888",
};
const MORE_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#C4B000", "#888888"];

// Adds up what has the same name: by operation or by disk.
function summed(what, by) {
  const found = new Map();
  for (const flow of data.flows) {
    const so_far = found.get(flow[by]);
    found.set(flow[by], so_far ? so_far.map((value, n) => value + flow[what][n]) : flow[what]);
  }
  return [...found];
}

// Steps of an axis of bytes: powers of two, where others would end in odd numbers.
function byteSteps(values, scale) {
  const most = Math.max(...values[0][1].map((_, n) => values.reduce((sum, [, counts]) => sum + counts[n], 0)));
  const interval = niceBytes((most * scale) / 4);
  return { interval, max: Math.max(Math.ceil((most * scale) / interval), 1) * interval };
}

function flowOption(what, by, scale, text, name) {
  const values = summed(what, by);
  const { begin_s: begin, width_s: width, count } = data.time;
  const series = values.map(([label, counts], n) => ({
    type: "line",
    name: label,
    step: "end",
    stack: "all",
    symbol: "none",
    lineStyle: { width: 1 },
    areaStyle: { opacity: 0.6 },
    color: (by === "op" && OP_COLOURS[label]) || MORE_COLOURS[n % MORE_COLOURS.length],
    data: Array.from({ length: count + 1 }, (_, at) => [begin + at * width, counts[Math.min(at, count - 1)] * scale]),
    markArea: n ? undefined : lossArea(),
  }));
  return {
    grid: { left: 66, right: 16, top: 30, bottom: 46 },
    legend: { top: 0, left: 110, type: "scroll", icon: "roundRect", textStyle: { color: css("ink") } },
    tooltip: {
      trigger: "axis",
      confine: true,
      backgroundColor: css("raised"),
      textStyle: { color: css("ink") },
      formatter: (points) =>
        tip(
          `from ${secondsText(points[0].value[0])}`,
          points.map((point) => [point.color, point.seriesName, text(point.value[1])]),
        ),
    },
    xAxis: timeAxis(),
    yAxis: axis(name, {
      type: "value",
      min: 0,
      splitNumber: 3,
      ...(what === "bytes" ? byteSteps(values, scale) : {}),
      nameTextStyle: { color: css("lesser"), align: "left", padding: [0, 0, 0, -50] },
      axisLabel: { formatter: text },
    }),
    series,
  };
}

function drawFlows() {
  const per_second = 1 / data.time.width_s;
  let by = "op";
  chart("iops", () => flowOption("count", by, per_second, countText, "IOs/s"));
  chart("bytes", () => flowOption("bytes", by, per_second, bytesText, "bytes/s"));
  chart("depth", () => flowOption("depth", by, 1, countText, "IOs"));
  for (const id of ["iops", "bytes", "depth"]) charts.get(id).made.group = "flow";
  echarts.connect("flow");
  tables.set("flow", () => flowTable(by));
  if (new Set(data.flows.map((flow) => flow.disk)).size > 1) {
    choose("flow-split", ["by operation", "by disk"], (name) => {
      by = name === "by disk" ? "disk" : "op";
      for (const id of ["iops", "bytes", "depth"]) draw(id);
    });
  }
}

function flowTable(by) {
  const { begin_s: begin, width_s: width, count } = data.time;
  const parts = [
    ["count", countText, 1 / width, "IOs/s"],
    ["bytes", (value) => `${bytesText(value)}/s`, 1 / width, "throughput"],
    ["depth", countText, 1, "in flight"],
  ];
  const columns = parts.flatMap(([what, text, scale, head]) =>
    summed(what, by).map(([label, values]) => ({ head: `${label}: ${head}`, values, text, scale })),
  );
  const rows = Array.from({ length: count }, (_, n) => [
    secondsText(begin + n * width),
    ...columns.map((column) => column.text(column.values[n] * column.scale)),
  ]);
  return tableOf(["from", ...columns.map((column) => column.head)], rows);
}

function sizeName(number) {
  return bytesText(2 ** number);
}

function drawSizes() {
  if (!data.sizes.length) return;
  const numbers = data.sizes.flatMap((size) => size.classes.map((one) => one[0]));
  const [first, last] = [Math.min(...numbers), Math.max(...numbers)];
  const names = Array.from({ length: last - first + 1 }, (_, n) => first + n);
  chart("sizes", () => ({
    grid: { left: 66, right: 16, top: 30, bottom: 46 },
    legend: { top: 0, left: 110, type: "scroll", textStyle: { color: css("ink") } },
    tooltip: {
      trigger: "axis",
      confine: true,
      backgroundColor: css("raised"),
      textStyle: { color: css("ink") },
      formatter: (bars) =>
        tip(
          `up to ${bars[0].name}`,
          bars.filter((bar) => bar.value).map((bar) => [bar.color, bar.seriesName, `${countText(bar.value)} IOs`]),
        ),
    },
    xAxis: axis("length of an IO: up to", {
      type: "category",
      data: names.map(sizeName),
      nameLocation: "middle",
      nameGap: 28,
      splitLine: { show: false },
    }),
    yAxis: axis("IOs", { type: "value", axisLabel: { formatter: countText } }),
    series: data.sizes.map((size) => ({
      type: "bar",
      stack: "all",
      name: size.op,
      color: OP_COLOURS[size.op],
      data: names.map((number) => size.classes.find((one) => one[0] === number)?.[1] ?? 0),
    })),
  }));
  tables.set("sizes", () =>
    tableOf(
      ["operation", "up to", "IOs", "p50", "p99"],
      data.sizes.flatMap((size) =>
        size.classes.map(([number, count, p50, p99]) => [
          size.op,
          sizeName(number),
          countText(count),
          timeText(p50),
          timeText(p99),
        ]),
      ),
    ),
  );
}
