// Pictures that follow the page: its theme, its width, the printer.

const dark = matchMedia("(prefers-color-scheme: dark)");
const charts = new Map();
const tables = new Map();
let isReady = false; // while the page is made, nothing is drawn that would be drawn again

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function isDark() {
  return (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
}

// A layer's colour as the back of the page lets it be seen: what is dark itself is lighter on dark.
function seen(colour) {
  if (!colour) return css("ink");
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return isDark() && 0.3 * red + 0.6 * green + 0.1 * blue < 90 ? mixed(colour, "#ffffff", 0.4) : colour;
}

// `option` makes ECharts' option, and is asked again whenever the theme or what is shown changes.
function chart(id, option, renderer = "svg") {
  const place = document.getElementById(id);
  const made = echarts.init(place, null, { renderer, devicePixelRatio: Math.max(2, window.devicePixelRatio) });
  charts.set(id, { made, option });
  new ResizeObserver(() => made.resize({ animation: { duration: 0 } })).observe(place);
  return made;
}

function draw(id) {
  if (!isReady) return;
  const { made, option } = charts.get(id);
  const wide = made.getWidth() >= 600;
  made.setOption(
    {
      animation: false,
      textStyle: { color: css("ink"), fontFamily: getComputedStyle(document.body).fontFamily },
      tooltip: {
        confine: true,
        backgroundColor: css("raised"),
        borderColor: css("line"),
        textStyle: { color: css("ink") },
      },
      ...option(wide),
    },
    { notMerge: true },
  );
}

function redraw() {
  for (const id of charts.keys()) draw(id);
}

function axis(name, more = {}) {
  const { axisLabel = {}, ...rest } = more;
  return {
    name,
    nameTextStyle: { color: css("lesser") },
    axisLabel: { color: css("lesser"), hideOverlap: true, ...axisLabel },
    axisLine: { show: true, lineStyle: { color: css("line") } },
    splitLine: { lineStyle: { color: css("line") } },
    ...rest,
  };
}

function xAxis(name, more = {}) {
  return axis(name, { type: "value", nameLocation: "middle", nameGap: 28, splitLine: { show: false }, ...more });
}

function timeAxis() {
  const { begin_s: begin, width_s: width, count } = data.time;
  return xAxis("time since the recording began (s)", { min: begin, max: begin + width * count });
}

// Stretches of time in which records were lost.
function lossArea() {
  return {
    silent: true,
    itemStyle: { color: css("warn"), opacity: 0.15 },
    label: { show: true, color: css("warn"), position: "insideTop" },
    data: data.losses.map(([from, to]) => [{ name: "lost", xAxis: from }, { xAxis: to }]),
  };
}

// One button for each name, of which one is pressed, the first to begin with; no buttons where there is no choice.
function choose(id, names, onChosen, swatches = {}) {
  const place = document.getElementById(id);
  if (names.length < 2) {
    onChosen(names[0]);
    return onChosen;
  }
  const buttons = names.map((name) => {
    const mark = swatches[name] ? [swatch(swatches[name]), " "] : [];
    const button = element("button", { type: "button", "aria-pressed": "false" }, ...mark, name);
    button.addEventListener("click", () => press(name));
    return button;
  });
  function press(name) {
    buttons.forEach((button, n) => button.setAttribute("aria-pressed", String(names[n] === name)));
    onChosen(name);
    for (const details of document.querySelectorAll("details.figures[open]")) fill(details);
  }
  place.append(...buttons);
  press(names[0]);
  return press;
}

// Tables behind the pictures are made when they are opened.
function fill(details) {
  details.querySelector(".scroll")?.remove();
  const make = tables.get(details.dataset.table);
  if (details.open && make) details.append(make());
}
