// A click on the head of a column sorts by it; the other way round the second time. What a cell
// shows is its value, unless it has another in data-value.
function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.textContent) return;
    const button = make('button', { type: 'button', class: 'sort', on: { click: () => {
      const up = head.getAttribute('aria-sort') === 'descending';
      heads.forEach((other) => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const body = table.tBodies[0];
      const value = (row) => {
        const shown = row.cells[column];
        const text = shown.dataset.value || shown.textContent;
        const number = Number(text.replace(/[\u2009+\u00b1]/g, '').replace('\u2212', '-'));
        return Number.isNaN(number) || text === '' ? text : number;
      };
      const order = (a, b) => (typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b)));
      body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * order(value(a), value(b))));
    } } }, ...head.childNodes);
    head.replaceChildren(button);
  });
}
