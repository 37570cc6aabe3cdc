// What can be clicked, and what makes the pictures anew.

const themeButton = document.getElementById("theme");

function themed() {
  themeButton.textContent = isDark() ? "Light" : "Dark";
  themeButton.setAttribute("aria-label", `${themeButton.textContent} colours`);
  redraw();
}

// Everything is drawn once, when all of it is there.
function begin() {
  isReady = true;
  themed();
}

if (document.getElementById("bars")) {
  const chooseLayer = drawHeat();
  drawBars(chooseLayer);
  drawCurves();
  drawFlows();
  drawPlaces();
  drawSizes();
}

themeButton.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  themed();
});
dark.addEventListener("change", themed);
begin();

for (const details of document.querySelectorAll("details.figures"))
  details.addEventListener("toggle", () => fill(details));

for (const button of document.querySelectorAll(".opener")) {
  button.addEventListener("click", () => {
    const row = button.closest("tr").nextElementSibling;
    row.hidden = !row.hidden;
    button.setAttribute("aria-expanded", String(!row.hidden));
  });
}

// Paper is white and narrow, whatever the screen is: A4 and letter have more than this within their margins.
const PAPER_WIDTH = 690;
let kept;
addEventListener("beforeprint", () => {
  kept = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
  for (const { made } of charts.values()) made.resize({ width: PAPER_WIDTH });
  redraw();
});
addEventListener("afterprint", () => {
  for (const { made } of charts.values()) made.resize({ width: "auto" });
  if (kept) document.documentElement.dataset.theme = kept;
  else delete document.documentElement.dataset.theme;
  redraw();
});
