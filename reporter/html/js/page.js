// What can be clicked, and what makes the pictures anew.

const dark = matchMedia("(prefers-color-scheme: dark)");
const themeButton = document.getElementById("theme");

function isDark() {
  return (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
}

function themed() {
  themeButton.textContent = isDark() ? "Light" : "Dark";
  themeButton.setAttribute("aria-label", `${themeButton.textContent} colours`);
  redraw();
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
themed();

for (const details of document.querySelectorAll("details.figures")) details.addEventListener("toggle", () => fill(details));

for (const button of document.querySelectorAll(".opener")) {
  button.addEventListener("click", () => {
    const row = button.closest("tr").nextElementSibling;
    row.hidden = !row.hidden;
    button.setAttribute("aria-expanded", String(!row.hidden));
  });
}

// Paper is white, whatever the screen is.
let kept;
addEventListener("beforeprint", () => {
  kept = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
  redraw();
});
addEventListener("afterprint", () => {
  if (kept) document.documentElement.dataset.theme = kept;
  else delete document.documentElement.dataset.theme;
  redraw();
});
