// Where the time goes: bars of the mean IO, and curves of percentiles.

const MOST_PARTS = 10; // the longest of a bar, told when the mouse is over it: the table has all

function partName(part) {
  return `${part.layer} ${part.phase}`.trim();
}

function drawBars(chooseLayer) {
  const { labels, counts, mean_ns: means, parts, left_out } = data.bars;
  if (!labels.length) return;
  const place = document.getElementById("bars");
  place.style.height = `${Math.max(9, 5 + 3 * labels.length)}rem`;
  if (left_out)
    place.after(element("p", { class: "scale" }, `Those with the most IOs; ${left_out} more are left out.`));
  const made = chart("bars", (wide) => ({
    grid: { left: wide ? 130 : 84, right: 76, top: 8, bottom: 46 },
    tooltip: {
      trigger: "axis",
      axisPointer: { type: "shadow" },
      confine: true,
      backgroundColor: css("raised"),
      textStyle: { color: css("ink") },
      formatter: (bars) => {
        const n = bars[0].dataIndex;
        const least = bars.map((bar) => bar.value).sort((a, b) => b - a)[MOST_PARTS - 1] ?? 0;
        const rows = bars
          .filter((bar) => bar.value > 0 && bar.value >= least)
          .map((bar) => [
            bar.color,
            partName(parts[bar.seriesIndex]),
            timeText(bar.value),
            `${((100 * bar.value) / means[n]).toFixed(1)} %`,
          ]);
        return tip(`${labels[n]}: mean ${timeText(means[n])}`, rows);
      },
    },
    xAxis: xAxis("mean time of an IO", { axisLabel: { formatter: timeText }, splitNumber: wide ? 6 : 3 }),
    yAxis: axis("", {
      type: "category",
      inverse: true,
      data: labels,
      axisTick: { show: false },
      axisLabel: {
        color: css("ink"),
        formatter: (label, n) => `${label}\n${countText(counts[n])} IOs`,
        width: wide ? 116 : 72,
        overflow: "break",
        lineHeight: 15,
      },
    }),
    series: parts.map((part, n) => ({
      type: "bar",
      stack: "all",
      name: partName(part),
      color: seen(part.colour),
      barMaxWidth: 34,
      data: part.mean_ns,
      label:
        n < parts.length - 1
          ? undefined
          : {
              show: true,
              position: "right",
              color: css("ink"),
              formatter: ({ dataIndex }) => timeText(means[dataIndex]),
            },
    })),
  }));
  made.on("click", ({ seriesIndex }) => {
    chooseLayer?.(parts[seriesIndex].layer);
    document.getElementById("h-heat").scrollIntoView();
  });
  const layers = [...new Set(parts.map((part) => part.layer))];
  document
    .getElementById("bars-legend")
    .append(
      ...layers.map((layer) =>
        element("span", {}, ...parts.filter((part) => part.layer === layer).map((part) => swatch(part.colour)), layer),
      ),
    );
  tables.set("bars", () =>
    tableOf(
      ["layer and phase", ...labels.map((label, n) => `${label} (${countText(counts[n])} IOs)`)],
      [
        ...parts.map((part) => [partName(part), ...part.mean_ns.map(timeText)]),
        ["all: mean latency", ...means.map(timeText)],
      ],
    ),
  );
}

function drawCurves() {
  const { shares, layers } = data.curves;
  if (!layers.length) return;
  const places = shares.map((share) => -Math.log10(1 - share));
  const ticks = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999]
    .filter((share) => share <= shares.at(-1) + 1e-6)
    .map((share) => -Math.log10(1 - share));
  const shareAt = (place) => 1 - 10 ** -place;
  chart("curves", (wide) => ({
    grid: { left: 66, right: 16, top: 60, bottom: 46 },
    legend: { top: 0, left: 0, type: wide ? "plain" : "scroll", textStyle: { color: css("ink") } },
    tooltip: {
      trigger: "axis",
      confine: true,
      backgroundColor: css("raised"),
      textStyle: { color: css("ink") },
      formatter: (points) =>
        tip(
          percentileText(shareAt(points[0].value[0])),
          points.map((point) => [point.color, point.seriesName, timeText(point.value[1])]),
        ),
    },
    xAxis: xAxis("percentile", {
      min: places[0],
      max: places.at(-1),
      axisTick: { customValues: ticks },
      axisLabel: { customValues: ticks, formatter: (place) => percentileText(shareAt(place)), hideOverlap: false },
    }),
    yAxis: axis("own time", {
      type: "log",
      min: 100,
      nameTextStyle: { color: css("lesser"), align: "left", padding: [0, 0, 0, -50] },
      axisLabel: { formatter: timeText },
    }),
    series: layers.map((layer) => ({
      type: "line",
      name: layer.name === "all" ? "all: latency" : layer.name,
      symbol: "none",
      color: seen(layer.colour),
      lineStyle: { width: layer.name === "all" ? 3 : 1.8 },
      data: layer.ns.map((ns, n) => [places[n], Math.max(ns, 100)]),
    })),
  }));
}
