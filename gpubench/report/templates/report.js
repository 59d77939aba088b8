"use strict";
// Progressive: the page reads well without this. It sorts, filters and opens what the page already holds.
(() => {
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  // ---- one case in full -------------------------------------------------------------------------------------------

  const copy = async (code, button) => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected: press Ctrl+C";
    }
  };

  // Scripts make of <noscript> text that costs nothing until a row is opened.
  const detail = (number, columns, id) => {
    const template = document.createElement("template");
    template.innerHTML = document.getElementById(`full-${number}`).textContent;
    const inside = template.content.querySelector(".inside");
    inside.querySelectorAll(".scroll").forEach((each) => {
      const name = each.querySelector("caption").textContent;
      for (const pair of [["tabindex", "0"], ["role", "region"], ["aria-label", name]]) each.setAttribute(...pair);
    });
    inside.querySelectorAll(".command code").forEach((code) => {
      const button = make("button", { type: "button", class: "tool" }, "Copy");
      button.addEventListener("click", () => copy(code, button));
      code.after(button);
    });
    return make("tr", { class: "detail", id }, make("td", { colspan: String(columns) }, inside));
  };

  const toggle = (row, button) => {
    const opened = button.getAttribute("aria-expanded") === "true";
    if (opened) row.nextElementSibling.remove();
    else row.after(detail(row.dataset.case, row.cells.length, button.getAttribute("aria-controls")));
    button.setAttribute("aria-expanded", String(!opened));
  };

  const makeOpenable = (row, key) => {
    const cell = row.querySelector("th");
    if (!cell.querySelector("a")) return;
    const label = cell.textContent.trim();
    const button = make("button", {
      type: "button", class: "open", "aria-expanded": "false", "aria-controls": `detail-${key}-${row.dataset.case}`,
      "aria-label": `${label}: case ${row.dataset.case} in full`,
    }, label);
    cell.replaceChildren(button);
    button.addEventListener("click", () => toggle(row, button));
    row.addEventListener("dblclick", () => toggle(row, button));
  };

  // ---- sorting ----------------------------------------------------------------------------------------------------

  const rowsOf = (element) => [...element.tBodies[0].rows].filter((row) => !row.classList.contains("detail"));
  const closeAll = (element) => element.querySelectorAll(".open[aria-expanded=true]").forEach((button) => button.click());

  const valueOf = (row, at) => {
    const cell = row.cells[at];
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    const text = cell.textContent.trim();
    const plain = /^>?([-+]?\d[\d\u202f]*(\.\d+)?(e[-+]\d+)?)(x|%)?( .*)?$/.exec(text);
    return plain ? Number(plain[1].replaceAll("\u202f", "")) : text;
  };

  // Numbers before words, empty cells last, in either direction; equal rows keep their order.
  const compare = (a, b, sign) => {
    const rank = (value) => value === "" ? 2 : typeof value === "number" ? 0 : 1;
    if (rank(a) !== rank(b)) return rank(a) - rank(b);
    return sign * (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
  };

  const sort = (element, heading, at) => {
    const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    closeAll(element);
    const keyed = rowsOf(element).map((row) => [valueOf(row, at), row]);
    keyed.sort(([a], [b]) => compare(a, b, sign));
    element.tBodies[0].append(...keyed.map(([, row]) => row));
    for (const other of element.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  };

  const makeSortable = (element) => {
    [...element.tHead.rows[0].cells].forEach((heading, at) => {
      if (heading.classList.contains("strips") || heading.dataset.key === "mark") return;
      const button = make("button", { type: "button" }, heading.textContent.trim());
      button.addEventListener("click", () => sort(element, heading, at));
      heading.replaceChildren(button);
    });
  };

  // ---- filtering --------------------------------------------------------------------------------------------------

  const MOST_CHOICES = 12;

  const makeFilterable = (element) => {
    const rows = rowsOf(element);
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const search = make("input", { type: "search", placeholder: "any text" });
    const shown = make("output", { "aria-live": "polite" });
    const form = make("div", { class: "filters", role: "search", "aria-label": "Filter the cases" }, make("label", {}, "Search", search));
    const choices = [];
    [...element.tHead.rows[0].cells].forEach((heading, at) => {
      const cells = rows.map((row) => row.cells[at]);
      const values = [...new Set(cells.map((cell) => cell.textContent.trim()))];
      const measured = cells.some((cell) => cell.querySelector(".pm")) || heading.classList.contains("f");
      if (measured || at < 2 || values.length < 2 || values.length > MOST_CHOICES || !axis(heading)) return;
      values.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
      const select = make("select", {}, make("option", { value: "" }, "all"), ...values.map((value) => make("option", {}, value)));
      choices.push([select, at]);
      form.append(make("label", {}, heading.textContent.trim(), select));
    });
    const clear = make("button", { type: "button", class: "tool" }, "Clear");
    form.append(clear, shown);
    const apply = () => {
      closeAll(element);
      const wanted = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      rows.forEach((row, number) => {
        const fits = wanted.every((part) => texts[number].includes(part)) &&
          choices.every(([select, at]) => !select.value || row.cells[at].textContent.trim() === select.value);
        row.hidden = !fits;
        count += fits ? 1 : 0;
      });
      shown.textContent = `${count} of ${rows.length} cases`;
    };
    search.addEventListener("input", apply);
    choices.forEach(([select]) => select.addEventListener("change", apply));
    clear.addEventListener("click", () => {
      search.value = "";
      choices.forEach(([select]) => { select.value = ""; });
      apply();
    });
    element.closest(".scroll").before(form);
    apply();
  };

  // Settings stand left of the first figure, which carries the interval.
  const axis = (heading) => {
    const cells = [...heading.parentElement.cells];
    const first = cells.findIndex((each) => ["throughput", "latency_s", "latency"].includes(each.dataset.key));
    return first < 0 || cells.indexOf(heading) < first;
  };

  // ---- the rest ---------------------------------------------------------------------------------------------------

  const save = (text, name) => {
    const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    make("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  };

  document.querySelectorAll("details.csv").forEach((each) => {
    const button = make("button", { type: "button", class: "tool" }, "Save");
    button.addEventListener("click", () => save(each.querySelector("pre").textContent, `${each.dataset.name}.csv`));
    each.append(button);
  });

  document.querySelectorAll("table.data").forEach((element) => {
    makeSortable(element);
    if (!element.classList.contains("opens")) return;
    rowsOf(element).forEach((row) => makeOpenable(row, element.dataset.key));
    if (element.dataset.key === "cases") makeFilterable(element);
  });

  // What a link leads to is unfolded: a section, a case, or what stands inside of either.
  const reveal = (hash) => {
    const target = hash.length > 1 && document.getElementById(hash.slice(1));
    if (!target) return;
    const own = target.querySelector(":scope > details");
    if (own) own.open = true;
    for (let each = target; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
    const button = target.querySelector(":scope > th > .open");
    if (button) {
      target.hidden = false;
      if (button.getAttribute("aria-expanded") === "false") button.click();
    }
    target.scrollIntoView({ block: "start" });
  };
  addEventListener("hashchange", () => reveal(location.hash));
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (link && link.hash === location.hash) reveal(link.hash);
  });
  reveal(location.hash);

  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      links.forEach((link) => link.removeAttribute("aria-current"));
      const link = links.get(entry.target.id);
      if (link) link.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-15% 0px -75% 0px" });
  document.querySelectorAll("main > section").forEach((each) => seen.observe(each));
})();
