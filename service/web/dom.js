// Small helpers for the page: elements, tables, files.

export const byId = (id) => document.getElementById(id);

export function element(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}

export function button(text, action, label) {
  const node = element("button", text, "quiet");
  node.type = "button";
  if (label) node.setAttribute("aria-label", label);
  node.addEventListener("click", action);
  return node;
}

export const show = (id, shown) => { byId(id).hidden = !shown; };

// A table of text cells; `sections` are [title, rows], the first cell of a row is its heading.
export function fillTable(table, head, sections) {
  const line = (cells, tag) => {
    const row = element("tr");
    row.append(...cells.map((cell, i) => (tag === "th" ? cellOf(cell, "th", "col") : i === 0 ? cellOf(cell, "th", "row") : cellOf(cell, "td"))));
    return row;
  };
  const bodies = sections.map(([title, rows]) => {
    const body = element("tbody");
    if (title) {
      const heading = element("th", title, "section");
      heading.colSpan = Math.max(1, head.length);
      const row = element("tr");
      row.append(heading);
      body.append(row);
    }
    body.append(...rows.map((cells) => line(cells, "td")));
    return body;
  });
  const top = element("thead");
  if (head.length) top.append(line(head, "th"));
  table.replaceChildren(...(head.length ? [top] : []), ...bodies);
}

function cellOf(content, tag, scope) {
  const cell = element(tag);
  cell.append(content instanceof Node ? content : String(content));
  if (scope) cell.scope = scope;
  return cell;
}

// definitions: [name, value, note, help]
export function fillFigures(list, figures) {
  list.replaceChildren(...figures.map(([name, value, note, help]) => {
    const box = element("div");
    if (help) box.title = help;
    box.append(element("dt", name), element("dd", value), element("dd", note, "note"));
    return box;
  }));
}

export function save(name, content, type = "application/octet-stream") {
  const link = element("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export async function copy(text, from) {
  await navigator.clipboard.writeText(text);
  const before = from.textContent;
  from.textContent = "Copied";
  setTimeout(() => { from.textContent = before; }, 1500);
}
