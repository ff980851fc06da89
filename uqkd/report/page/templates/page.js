"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Search: studies whose question, answer, caption or name hold every word.
  const form = document.querySelector(".search");
  const studies = all("article.study");
  if (form && studies.length > 1) {
    const field = form.querySelector("input"), said = form.querySelector("[role=status]");
    const words = new Map(studies.map((study) => [study, [study.id, ...all("h2, .answer, .caption", study).map((part) => part.textContent),
      study.closest(".group").querySelector(".banner").textContent].join(" ").toLowerCase()]));
    const filter = () => {
      const asked = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const study of studies) {
        study.hidden = !asked.every((word) => words.get(study).includes(word));
        shown += !study.hidden;
        document.querySelector(`.contents a[data-study="${study.id}"]`).parentElement.hidden = study.hidden;
      }
      for (const group of all(".group")) group.hidden = !group.querySelector("article:not([hidden])");
      for (const list of all(".layer-list")) list.hidden = !list.querySelector("li:not([hidden])");
      document.getElementById("nothing").hidden = shown > 0;
      said.textContent = asked.length ? `${shown} of ${studies.length} studies` : "";
    };
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const first = studies.find((study) => !study.hidden);
      if (first) location.hash = first.id;
    });
    field.addEventListener("input", filter);
    field.addEventListener("keydown", (event) => { if (event.key === "Escape") { field.value = ""; filter(); } });
    if (field.value) filter();
  }

  // Contents: closed on a phone; beside the page they follow the reader.
  const contents = document.querySelector(".contents .list"), beside = matchMedia("(min-width: 70rem)");
  if (contents) {
    const fit = () => { contents.open = beside.matches; };
    fit();
    beside.addEventListener("change", fit);
    const links = new Map(all(".contents a[data-study]").map((link) => [link.dataset.study, link]));
    const watch = new IntersectionObserver((seen) => {
      for (const entry of seen) {
        if (!entry.isIntersecting || !links.has(entry.target.id)) continue;
        for (const link of links.values()) link.removeAttribute("aria-current");
        const link = links.get(entry.target.id), side = link.closest(".contents");
        link.setAttribute("aria-current", "location");
        if (beside.matches) {
          const place = link.getBoundingClientRect(), box = side.getBoundingClientRect();
          if (place.top < box.top || place.bottom > box.bottom) side.scrollTop += place.top - box.top - box.height / 2;
        }
      }
    }, { rootMargin: "-10% 0px -80% 0px" });
    for (const study of studies) watch.observe(study);
  }

  // Tables: a click on a title sorts by it, numbers as numbers, empty cells last.
  const value = (text) => text === "" ? NaN : Number(text.replace(/[\u2212\u2013]/g, "-").replace(/[,%\s]/g, ""));
  for (const table of all("table.sortable")) {
    const body = table.tBodies[0];
    if (body.rows.length < 2) continue;
    all("thead th", table).forEach((title, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...title.childNodes);
      title.append(button);
      title.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const down = title.getAttribute("aria-sort") === "ascending", sign = down ? -1 : 1;
        const cells = [...body.rows].map((row) => [row.cells[column].textContent.trim(), row]);
        const numeric = cells.every(([text]) => text === "" || text === "–" || !Number.isNaN(value(text)));
        const compare = numeric ? (a, b) => value(a) - value(b) : (a, b) => a.localeCompare(b, "en", { numeric: true });
        const empty = (text) => text === "" || (numeric && Number.isNaN(value(text)));
        cells.sort(([a], [b]) => empty(a) || empty(b) ? empty(a) - empty(b) : sign * compare(a, b));
        for (const other of all("thead th", table)) other.setAttribute("aria-sort", "none");
        title.setAttribute("aria-sort", down ? "descending" : "ascending");
        body.append(...cells.map(([, row]) => row));
      });
    });
  }

  // Terms: what they mean, under the pointer, on focus, or by a touch; Escape closes it.
  const tip = document.getElementById("tip");
  let shownFor = null, closing = 0;
  const close = () => { tip.hidden = true; shownFor = null; };
  const open = (term) => {
    clearTimeout(closing);
    const meaning = document.getElementById(term.getAttribute("aria-describedby"));
    if (!meaning || shownFor === term) return;
    tip.textContent = meaning.textContent;
    tip.hidden = false;
    shownFor = term;
    const at = term.getBoundingClientRect(), box = tip.getBoundingClientRect();
    const width = document.documentElement.clientWidth, below = at.bottom + box.height + 8 < innerHeight || at.top < box.height + 8;
    tip.style.left = `${Math.max(8, Math.min(at.left, width - box.width - 8)) + scrollX}px`;
    tip.style.top = `${(below ? at.bottom + 6 : at.top - box.height - 6) + scrollY}px`;
  };
  const later = () => { closing = setTimeout(close, 200); };
  for (const term of all("a.term")) {
    term.addEventListener("mouseenter", () => open(term));
    term.addEventListener("mouseleave", later);
    term.addEventListener("focus", () => open(term));
    term.addEventListener("blur", close);
    term.addEventListener("click", (event) => { if (matchMedia("(hover: none)").matches) { event.preventDefault(); open(term); } });
  }
  tip.addEventListener("mouseenter", () => clearTimeout(closing));
  tip.addEventListener("mouseleave", later);
  addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });

  // Pictures come when they come into view. Beside the page on a disk, the others follow one by one, so that all are printed.
  const next = () => {
    const image = document.querySelector("img[loading=lazy]");
    if (!image) return;
    if (!image.complete) for (const event of ["load", "error"]) image.addEventListener(event, () => setTimeout(next), { once: true });
    image.loading = "eager";
    if (image.complete) setTimeout(next);
  };
  if (location.protocol === "file:") addEventListener("load", () => setTimeout(next));

  // Paper has no folds: what is closed is opened for it, and closed again.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    for (const part of opened) part.open = true;
    for (const image of all("img[loading=lazy]")) image.loading = "eager";
  });
  addEventListener("afterprint", () => { for (const part of opened) part.open = false; });
})();
