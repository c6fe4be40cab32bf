// What tests ask of a page in the browser: WCAG's contrast of what is shown, and the order of what has the focus.

const parts = (text) => {
  const [r, g, b, a = 1] = (text.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
  return text.startsWith("rgb") ? { r, g, b, a } : { r: 0, g: 0, b: 0, a: 0 };
};

const over = (top, below) => {
  const mix = (name) => top[name] * top.a + below[name] * (1 - top.a);
  return { r: mix("r"), g: mix("g"), b: mix("b"), a: 1 };
};

// https://www.w3.org/TR/WCAG22/#dfn-relative-luminance
const luminance = (colour) => {
  const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(colour.r) + 0.7152 * linear(colour.g) + 0.0722 * linear(colour.b);
};

const contrast = (one, other) => {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
};

// What is behind an element: the bar that a text stands in, else the grounds of what it is in, one over the other.
const behind = (element) => {
  const bar = element.closest(".bars .point");
  const fill = bar && element.matches("text, tspan") && parts(getComputedStyle(bar.querySelector("path")).fill);
  const grounds = fill ? [fill] : [];
  for (let at = element; at; at = at.parentElement) grounds.push(parts(getComputedStyle(at).backgroundColor));
  return grounds.reverse().reduce((below, ground) => over(ground, below), { r: 255, g: 255, b: 255, a: 1 });
};

const opacity = (element) => {
  let found = 1;
  for (let at = element; at; at = at.parentElement) found *= Number(getComputedStyle(at).opacity);
  return found;
};

const shown = (element) => {
  const box = element.getBoundingClientRect();
  return box.width > 0 && box.height > 0 && getComputedStyle(element).visibility === "visible" && opacity(element) > 0;
};

function unreadable(least, leastLarge) {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("script, style, template, .unseen, .skip") || !shown(element)) continue;
    const style = getComputedStyle(element);
    const ground = behind(element);
    const ink = parts(element instanceof SVGElement ? style.fill : style.color);
    ink.a *= opacity(element);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = contrast(over(ink, ground), ground);
    if (ratio < (large ? leastLarge : least)) found.push([walker.currentNode.data.trim().slice(0, 40), ratio]);
  }
  return found;
}

function faint(least) {
  const ground = behind(document.body);
  const drawn = [
    ...[...document.querySelectorAll(".bars .point > path")].map((each) => [each, "fill"]),
    ...[...document.querySelectorAll(".scatterlayer .lines path.js-line")].map((each) => [each, "stroke"]),
    ...[...document.querySelectorAll(".scatterlayer .points path")].map((each) => [each, "fill"]),
  ];
  return drawn.flatMap(([element, name]) => {
    const style = getComputedStyle(element);
    // A pattern's ground stands in its own element; a line of no width is the edge of a band.
    const pattern = style[name].match(/url\("#([^"]+)"\)/);
    const colour = parts(pattern ? getComputedStyle(document.getElementById(pattern[1]).querySelector("rect")).fill : style[name]);
    if (colour.a === 0 || (name === "stroke" && parseFloat(style.strokeWidth) === 0)) return [];
    const ratio = contrast(over(colour, ground), ground);
    return ratio < least ? [[element.closest("figure").querySelector("figcaption").textContent, style[name], ratio]] : [];
  });
}

// Numbers what the tab key is to reach, in the page's order; how many there are.
function number() {
  const found = [...document.querySelectorAll("a[href], button, summary, [tabindex='0']")].filter(
    (each) => each.matches(".skip") || each.checkVisibility(),
  );
  found.forEach((each, place) => { each.dataset.place = place; });
  return found.length;
}

function focused() {
  const style = getComputedStyle(document.activeElement);
  const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return [Number(document.activeElement.dataset.place), outlined];
}
