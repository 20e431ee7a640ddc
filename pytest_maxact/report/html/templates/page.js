"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const read = (id) => JSON.parse($(id).textContent);
  const objects = ({ columns, rows }) => rows.map((row) => Object.fromEntries(columns.map((name, i) => [name, row[i]])));
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const MOST_PRINTED = { rows: 60, columns: 10 };
  const PRINTED = 680; // pixels, which A4 and Letter both hold: letters of figures keep their size there

  const isSaid = (value) => !["undefined", "null", ""].includes(String(value));
  function tooltip(value, escaped) {
    if (typeof value !== "object") return escaped(value);
    const rows = Object.entries(value).filter(([, said]) => isSaid(said));
    return `<table>${rows.map(([name, said]) => `<tr><td class="key">${escaped(name)}</td><td class="value">${escaped(said)}</td></tr>`).join("")}</table>`;
  }

  const views = new Map();
  const config = () => read("chart-config");

  function specOf(name) {
    const spec = read(`figure-${name}-spec`);
    const rows = objects(read(`figure-${name}-rows`));
    for (const [dataset, data] of Object.entries(spec.datasets)) {
      const given = data.fields ? rows.map((row) => data.fields.map((field) => [field, row[field]])) : objects(data).map(Object.entries);
      spec.datasets[dataset] = given.map((fields) => Object.fromEntries(fields.filter(([, value]) => value !== null && value !== "")));
    }
    return spec;
  }

  // Every legend of a spec in so many columns, but in no more than it asks for itself.
  function within(columns, part) {
    if (!part || typeof part !== "object") return part;
    if (Array.isArray(part)) return part.map((one) => within(columns, one));
    return Object.fromEntries(Object.entries(part).map(([name, one]) => {
      if (name === "datasets") return [name, one];
      if (name !== "legend" || !one) return [name, within(columns, one)];
      return [name, { ...one, columns: Math.min(columns, one.columns ?? columns) }];
    }));
  }

  const isCutOff = (chart) => {
    const edge = chart.querySelector("svg").getBoundingClientRect();
    return all("svg .role-legend text", chart).some((text) => text.getBoundingClientRect().right > edge.right + 1);
  };

  // A figure as wide as its box; where legends do not fit into it, below each other and in fewer columns.
  async function draw(chart) {
    const spec = specOf(chart.dataset.figure);
    for (const columns of [Infinity, 4, 3, 2, 1]) {
      const own = config();
      if (columns !== Infinity) own.legend = { ...own.legend, columns, layout: { top: { anchor: "start", direction: "vertical" } } };
      views.get(chart)?.finalize();
      // Expressions are interpreted, never compiled: the page's policy lets no text become a script.
      const { view } = await vegaEmbed(chart, columns === Infinity ? spec : within(columns, spec), { config: own, ast: true, renderer: "svg", actions: false, mode: "vega-lite", tooltip: { theme: "custom", formatTooltip: tooltip } });
      views.set(chart, view);
      view.container().querySelector("svg").setAttribute("aria-hidden", "true"); // its box has the words for it
      chart.dataset.columns = columns;
      if (!isCutOff(chart)) break;
    }
  }

  async function drawAll(charts) {
    document.documentElement.dataset.drawing = charts.length;
    for (const chart of charts) {
      try {
        await draw(chart);
      } catch (error) {
        chart.textContent = "This figure could not be drawn; its data stand below.";
        console.error(chart.dataset.figure, error);
      }
    }
    delete document.documentElement.dataset.drawing;
    document.documentElement.dataset.drawn = all(".chart").length;
  }

  // What was drawn in a narrow box, or no longer fits its own, is drawn again.
  let width = innerWidth, waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (width === innerWidth) return;
      const wider = innerWidth > width;
      width = innerWidth;
      drawAll([...views.keys()].filter((chart) => (wider ? chart.dataset.columns !== "Infinity" : isCutOff(chart))));
    }, 100);
  });

  function fillData(details) {
    const box = details.querySelector(".scroll");
    if (box.firstChild) return;
    const { columns, rows } = read(`figure-${details.dataset.figure}-rows`);
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    const figures = columns.map((_, i) => rows.every((row) => row[i] === null || typeof row[i] === "number"));
    columns.forEach((name, i) => {
      const th = head.appendChild(document.createElement("th"));
      th.scope = "col";
      if (figures[i]) th.className = "n";
      const button = th.appendChild(document.createElement("button"));
      button.type = "button";
      button.className = "sort";
      button.textContent = name;
    });
    const body = table.createTBody();
    for (const row of rows) {
      const tr = body.insertRow();
      row.forEach((value, i) => {
        const td = tr.insertCell();
        td.textContent = value === null ? "" : Array.isArray(value) ? value.join(", ") : value;
        if (figures[i]) td.className = "n";
      });
    }
    box.append(table);
  }

  const figureOf = (cell) => {
    const value = cell.dataset.v ?? cell.textContent.replaceAll("\u00a0", "").trim();
    return { inf: Infinity, "-inf": -Infinity, nan: NaN }[value] ?? parseFloat(value);
  };

  function sort(button) {
    const th = button.closest("th");
    const table = th.closest("table");
    const rising = th.getAttribute("aria-sort") === "descending" || (!th.hasAttribute("aria-sort") && !th.classList.contains("n"));
    all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
    th.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const sign = rising ? 1 : -1;
    const isFigure = th.classList.contains("n");
    const natural = new Intl.Collator("en", { numeric: true });
    const keyed = [...table.tBodies[0].rows].map((row) => {
      const cell = row.cells[th.cellIndex];
      return [isFigure ? figureOf(cell) : cell.textContent.trim(), row];
    });
    keyed.sort(([a], [b]) => {
      if (!isFigure) return sign * natural.compare(a, b);
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b); // what has no figure comes last
      return a === b ? 0 : a < b ? -sign : sign;
    });
    table.tBodies[0].append(...keyed.map(([, row]) => row));
  }

  // What a program for tables of data would take for a formula becomes text there.
  const FORMULA = /^\s*[=+\-@\t\r|%\uff1d\uff0b\uff0d\uff20]/;
  function csvCell(value) {
    if (value === null || value === undefined) return "";
    if (typeof value === "number") return String(value);
    let text = Array.isArray(value) ? value.join(" ") : String(value);
    if (FORMULA.test(text) && !/^[-+]?\d+(\.\d+)?(e[-+]?\d+)?$/i.test(text)) text = `'${text}`;
    return /[",\n\r;\t']/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }
  const csv = (columns, rows) => [columns, ...rows].map((row) => row.map(csvCell).join(",")).join("\r\n") + "\r\n";

  function save(name, text, type) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  const json = (data) => `${JSON.stringify(data, null, 1)}\n`;
  function provenance() {
    return Object.fromEntries(
      all(".provenance summary").map((title) => [
        title.textContent,
        Object.fromEntries(
          all("div", title.nextElementSibling).map((row) => [
            row.querySelector("dt").textContent,
            all(".line", row).map((line) => line.textContent),
          ]),
        ),
      ]),
    );
  }

  function download(button) {
    const { table, rows, as } = button.dataset;
    if (table) {
      const text = (row) => [...row.cells].map((cell) => cell.textContent.trim());
      const [head, ...body] = [...$(`table-${table}`).rows].map(text);
      if (as === "csv") save(`${table}.csv`, csv(head, body), "text/csv");
      else save(`${table}.json`, json(objects({ columns: head, rows: body })), "application/json");
    } else if (rows) {
      const data = read(`figure-${rows}-rows`);
      if (as === "csv") save(`${rows}.csv`, csv(data.columns, data.rows), "text/csv");
      else save(`${rows}.json`, json(objects(data)), "application/json");
    } else if ("provenance" in button.dataset) {
      save("provenance.json", json(provenance()), "application/json");
    } else {
      const names = all(".chart").map((chart) => chart.dataset.figure);
      save("figures.json", json(Object.fromEntries(names.map((name) => [name, objects(read(`figure-${name}-rows`))]))), "application/json");
    }
  }

  function follow() {
    const row = location.hash.length > 1 && $(decodeURIComponent(location.hash.slice(1)));
    if (!row) return;
    for (let box = row.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
    row.scrollIntoView({ block: row.tagName === "TR" ? "center" : "start" });
    if (row.tagName === "TR") row.focus({ preventScroll: true });
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.matches(".sort")) sort(button);
    else if (button?.matches(".download")) download(button);
    else if (event.target.closest('a[href^="#"]')) setTimeout(follow);
  });
  document.addEventListener("toggle", (event) => {
    if (event.target.matches?.("details.data") && event.target.open) fillData(event.target);
  }, true);
  addEventListener("hashchange", follow);

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = all("details:not([open])").filter((box) => {
      if (!box.matches(".data")) return true;
      const { columns, rows } = read(`figure-${box.dataset.figure}-rows`);
      return rows.length <= MOST_PRINTED.rows && columns.length <= MOST_PRINTED.columns;
    });
    for (const box of closed) {
      if (box.matches(".data")) fillData(box);
      box.open = true;
    }
    for (const [chart, view] of views) view.width(Math.min(chart.clientWidth, PRINTED)).run();
  });
  addEventListener("afterprint", () => {
    closed.forEach((box) => { box.open = false; });
    for (const [chart, view] of views) view.width(chart.clientWidth).run();
  });

  drawAll(all(".chart")).then(follow);
})();
