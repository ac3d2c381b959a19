// What is wrong with a page for those who use a keyboard, a screen reader, a small screen or have weak eyes: a list of texts.
// The rules are WCAG 2.2's that a program can tell: https://www.w3.org/TR/WCAG22/
() => {
  const found = [];
  const bad = (what, element) => found.push(`${what}: ${element ? element.outerHTML.slice(0, 120) : ""}`);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const shown = (element) => element.checkVisibility() && element.getClientRects().length > 0;

  // 2.4.2, 3.1.1, 1.3.1: title, language, one main, headings in order
  if (!document.title.trim()) bad("no title");
  if (!document.documentElement.lang) bad("no language");
  if (all("main").length !== 1) bad("not one main");
  if (all("h1").length !== 1) bad("not one h1");
  let level = 0;
  for (const heading of all("h1, h2, h3, h4, h5, h6")) {
    const now = Number(heading.tagName[1]);
    if (now > level + 1) bad(`h${now} after h${level}`, heading);
    if (!heading.textContent.trim()) bad("empty heading", heading);
    level = now;
  }

  // 4.1.2, 1.3.1: everything that can be used has a name
  const name = (element) => (element.getAttribute("aria-label")
    || [...(element.labels || [])].map((label) => label.textContent).join(" ")
    || element.textContent || "").trim();
  for (const element of all("input:not([type=hidden]), select, textarea, button, a[href], summary")) {
    if (shown(element) && !name(element)) bad("no name", element);
  }
  for (const image of all("img")) if (!image.hasAttribute("alt")) bad("image without alt", image);
  for (const group of all("fieldset")) if (!group.querySelector("legend")?.textContent.trim()) bad("no legend", group);
  const named = all("button").filter(shown).map(name);
  for (const text of new Set(named)) {
    if (named.filter((one) => one === text).length > 1) bad(`several buttons are called ${text}`);
  }
  const ids = all("[id]").map((element) => element.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) bad(`id ${id} is there twice`);
  for (const element of all("[aria-describedby], [aria-labelledby]")) {
    for (const id of `${element.getAttribute("aria-describedby") || ""} ${element.getAttribute("aria-labelledby") || ""}`.split(" ")) {
      if (id && !document.getElementById(id)) bad(`refers to ${id}, which is not there`, element);
    }
  }
  for (const element of all("[tabindex]")) if (element.tabIndex > 0) bad("jumps the order", element);
  // 1.3.5: what the browser can fill in
  for (const element of all("input[type=password]")) {
    if (!/password/.test(element.autocomplete)) bad("no autocomplete", element);
  }

  // 1.4.10: no sideways scrolling; 2.5.8: targets of 24 px and more
  if (document.documentElement.scrollWidth > innerWidth) bad(`${document.documentElement.scrollWidth} px wide`);
  for (const element of all("button, input:not([type=hidden]), select, summary")) {
    const target = (element.type === "checkbox" && element.labels[0]) || element;
    const { width, height } = target.getBoundingClientRect();
    if (shown(element) && (width < 24 || height < 24)) bad(`only ${Math.round(width)} x ${Math.round(height)} px`, element);
  }

  // 1.4.3: text stands out from what is behind it
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (css) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = css;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => top.slice(0, 3).map((one, at) => one * top[3] + under[at] * (1 - top[3]));
  const behind = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(rgba(getComputedStyle(one).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const light = (colour) => colour.map((one) => one / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
  for (const element of all("body *").filter(shown)) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!text || element.classList.contains("unseen")) continue;
    const under = behind(element);
    const [a, b] = [light(over(rgba(getComputedStyle(element).color), under)), light(under)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) bad(`contrast ${ratio.toFixed(2)}`, element);
  }
  return found;
}
