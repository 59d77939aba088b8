// What looks wrong on a page, as lines of text: run by the tests with everything unfolded and with nothing.
const problems = [];
const name = (element) => `${element.tagName.toLowerCase()}.${element.getAttribute("class") ?? ""} ${JSON.stringify(element.textContent.trim().slice(0, 60))}`;
const shown = (element) => element.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true }) && !element.closest(".hidden,.skip");

if (document.documentElement.scrollWidth > innerWidth) {
  problems.push(`the page is ${document.documentElement.scrollWidth} px wide on a screen of ${innerWidth}`);
}

// ---- text that is cut, or lies outside of the screen where nothing scrolls to it
const scrolls = (element) => {
  for (let each = element; each && each !== document.body; each = each.parentElement) {
    if (["auto", "scroll"].includes(getComputedStyle(each).overflowX)) return true;
  }
  return false;
};
const texts = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const parent = node.parentElement;
  if (!node.data.trim() || parent.closest("script,style,noscript,title,desc,select") || !shown(parent)) continue;
  const range = document.createRange();
  range.selectNodeContents(node);
  const boxes = [...range.getClientRects()].filter((box) => box.width && box.height);
  if (!boxes.length) continue;
  texts.push([node, parent, boxes]);
  const left = Math.min(...boxes.map((box) => box.left)), right = Math.max(...boxes.map((box) => box.right));
  if (!scrolls(parent) && (left < -1 || right > innerWidth + 1)) problems.push(`outside of the screen: ${name(parent)}`);
  const card = parent.closest(".answer,.chart")?.getBoundingClientRect();
  if (card && !scrolls(parent) && right > card.right + 1) problems.push(`outside of its card: ${name(parent)}`);
  const style = getComputedStyle(parent);
  const cuts = style.overflowX === "hidden" || style.textOverflow === "ellipsis";
  if (cuts && parent.scrollWidth > parent.clientWidth + 1) problems.push(`cut: ${name(parent)}`);
}

// ---- text of one drawing that lies on other text of it, or outside of its frame
document.querySelectorAll("figure svg").forEach((drawing) => {
  if (!shown(drawing)) return;
  const frame = drawing.closest("figure").getBoundingClientRect();
  const labels = [...drawing.querySelectorAll("text")].filter((each) => each.textContent.trim());
  const boxes = labels.map((each) => each.getBoundingClientRect());
  boxes.forEach((box, at) => {
    if (box.left < frame.left - 1 || box.right > frame.right + 1) problems.push(`outside of its chart: ${name(labels[at])}`);
    for (let other = at + 1; other < boxes.length; other += 1) {
      const next = boxes[other];
      const width = Math.min(box.right, next.right) - Math.max(box.left, next.left);
      const height = Math.min(box.bottom, next.bottom) - Math.max(box.top, next.top);
      const halo = labels[at].textContent === labels[other].textContent;
      if (width > 2 && height > 4 && !halo) problems.push(`on each other: ${name(labels[at])} and ${name(labels[other])} in ${drawing.closest("figure").id}`);
    }
  });
  const size = Math.min(...labels.map((each) => parseFloat(each.getAttribute("font-size")) * Math.hypot(each.getScreenCTM().a, each.getScreenCTM().b)));
  if (size < 9) problems.push(`letters of ${size.toFixed(1)} px in ${drawing.closest("figure").id}`);
});

// ---- contrast of text with what is behind it (WCAG 2.2, 1.4.3: 4.5 to 1)
const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const known = new Map();
const channels = (colour) => {
  if (!known.has(colour)) {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = colour;
    pixel.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = pixel.getImageData(0, 0, 1, 1).data;
    known.set(colour, [red, green, blue, alpha / 255]);
  }
  return known.get(colour);
};
const over = (top, below) => below.map((value, at) => top[at] * top[3] + value * (1 - top[3]));
const behind = (element) => {
  if (!element) return channels("white").slice(0, 3);
  const own = channels(getComputedStyle(element).backgroundColor);
  return own[3] === 1 ? own.slice(0, 3) : over(own, behind(element.parentElement));
};
const light = (rgb) => {
  const [red, green, blue] = rgb.map((value) => value / 255).map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
for (const [, parent] of texts) {
  if (parent.closest(".form-heat")) continue; // the field behind the text is drawn, not a background
  const below = behind(parent);
  const style = getComputedStyle(parent);
  const colour = parent.closest("svg") ? style.fill : style.color;
  if (colour === "none") continue;
  const [bright, dim] = [light(over(channels(colour), below)), light(below)].sort((a, b) => b - a);
  const ratio = (bright + 0.05) / (dim + 0.05);
  if (ratio < 4.5) problems.push(`contrast ${ratio.toFixed(1)}: ${name(parent)}`);
}
return [...new Set(problems)];
