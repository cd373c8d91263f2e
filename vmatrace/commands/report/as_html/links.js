// Ways into the page and out of it: an address or a name, the fragment of its URL, files.

// What is asked for: an address as any table shows it, a range, or a part of a name.
function goTo(text) {
  const wanted = text.trim();
  const said = $('goto-said');
  if (!wanted) return put(said);
  const hexadecimal = /^(?:0x)?([0-9a-f]{4,16})(?:-(?:0x)?[0-9a-f]+)?$/i.exec(wanted);
  const found = hexadecimal ? atAddress(BigInt(`0x${hexadecimal[1]}`)) : byName(wanted.toLowerCase());
  if (!found) return put(said, hexadecimal ? `Nothing is mapped at ${hexadecimal[1]} after this event.` : `No VMA is called ${wanted} after this event.`);
  put(said);
  maps.chosen = { what: 'vma', side: found.side, start: found.start };
  reveal(found.start);
  drawMaps();
  drawDetail();
  return remember();
}

const sidesFirst = () => (maps.chosen && maps.chosen.side === 1 ? [1, 0] : [0, 1]);

function atAddress(address) {
  const page = Number(address / BigInt(PAGE));
  for (const side of sidesFirst()) {
    const layout = maps.layouts[side] || [];
    const vma = layout[firstBelow(layout, page)];
    if (vma && vma.start <= page) return { side, start: vma.start };
  }
  return null;
}

// The next one after what is chosen, round the end.
function byName(part) {
  for (const side of sidesFirst()) {
    const matching = (maps.layouts[side] || []).filter((vma) => (DATA.attributes[vma.attributes][2] || 'anonymous').toLowerCase().includes(part));
    if (!matching.length) continue;
    const here = maps.chosen && maps.chosen.side === side ? maps.chosen.start : -1;
    return { side, start: (matching.find((vma) => vma.start > here) || matching[0]).start };
  }
  return null;
}

// Event, process, what is chosen and the colours, so that a link leads to what its sender saw.
let settled = false;
function remember() {
  if (!settled) return;
  const parts = { event: FRAMES[current].number };
  if (DATA.processes.length > 1) parts.process = chosenProcess;
  if (maps.chosen) parts[maps.chosen.what] = `${maps.chosen.side}:${hex(maps.chosen.start)}`;
  const { theme } = document.documentElement.dataset;
  if (theme) parts.theme = theme;
  history.replaceState(null, '', `#${new URLSearchParams(parts)}`);
}

function recall() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const theme = asked.get('theme');
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;
  const number = (name) => (/^\d+$/.test(asked.get(name) || '') ? Number(asked.get(name)) : null);
  const process = number('process');
  const event = number('event');
  if (event !== null) current = nearestFrame(event);
  showProcess(process !== null && process < DATA.processes.length ? process : chosenProcess);
  for (const what of ['vma', 'border']) {
    const place = /^([01]):([0-9a-f]{1,16})$/.exec(asked.get(what) || '');
    if (!place) continue;
    const start = Number(BigInt(`0x${place[2]}`) / BigInt(PAGE));
    const side = Number(place[1]);
    if (!(maps.layouts[side] || []).some((vma) => vma.start === start)) continue;
    maps.chosen = { what, side, start };
    reveal(start);
    drawMaps();
    drawDetail();
  }
}

// --- files ---

function save(name, type, text) {
  const link = make('a', { download: name, href: URL.createObjectURL(new Blob([text], { type })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const fileName = (suffix) => `${DATA.trace.replace(/[^\w.-]+/g, '_').slice(0, 80) || 'trace'}-${suffix}`;

// A spreadsheet takes what starts so for a formula.
function cell(value) {
  const text = /^[=+\-@\t\r]/.test(String(value)) && typeof value === 'string' ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}
const csv = (rows) => rows.map((row) => row.map(cell).join(',')).join('\r\n') + '\r\n';

function layoutsNow() {
  return DATA.models.map((model, side) => ({
    model,
    layout: (maps.layouts[side] || []).map((vma) => {
      const [perms, codes, name] = DATA.attributes[vma.attributes];
      return { start: hex(vma.start), end: hex(vma.end), perms, offset: vma.offset * PAGE, name, vmflags: codes.split(' ') };
    }),
  }));
}

function saveSvg() {
  const svg = $('chart').querySelector('svg').cloneNode(true);
  const shown = $('chart').querySelectorAll('svg, svg *');
  [svg, ...svg.querySelectorAll('*')].forEach((element, i) => {
    const style = getComputedStyle(shown[i]);
    for (const name of ['fill', 'stroke', 'stroke-width', 'stroke-dasharray', 'opacity', 'font-size', 'font-family']) {
      element.setAttribute(name, style.getPropertyValue(name));
    }
  });
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  svg.setAttribute('width', chart.scale.width);
  save(fileName('vmas.svg'), 'image/svg+xml', new XMLSerializer().serializeToString(svg));
}

function listenLinks() {
  $('goto').addEventListener('keydown', (event) => { if (event.key === 'Enter') goTo($('goto').value); });
  $('goto').addEventListener('search', () => { if (!$('goto').value) put($('goto-said')); });
  window.addEventListener('hashchange', recall);
  $('save-svg').addEventListener('click', saveSvg);
  $('save-series').addEventListener('click', () => save(fileName('vmas.csv'), 'text/csv', csv([
    ['event', ...DATA.models],
    ...DATA.processes[chosenProcess].curve.map((point) => [point[0], point[3], point[6]]),
  ])));
  $('save-csv').addEventListener('click', () => save(fileName(`event-${FRAMES[current].number}.csv`), 'text/csv', csv([
    ['model', 'start', 'end', 'perms', 'offset', 'name', 'vmflags'],
    ...layoutsNow().flatMap(({ model, layout }) => layout.map((vma) => [model, vma.start, vma.end, vma.perms, vma.offset, vma.name, vma.vmflags.join(' ')])),
  ])));
  $('save-json').addEventListener('click', () => save(fileName(`event-${FRAMES[current].number}.json`), 'application/json', JSON.stringify({
    trace: DATA.trace, event: FRAMES[current].number, process: DATA.processes[chosenProcess].name, layouts: layoutsNow(),
  }, null, 1)));
}

// A click on the head of a column sorts by it; the other way round the second time.
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
        const text = row.cells[column].textContent;
        const number = Number(text.replace(/[\u2009+\u00b1]/g, '').replace('\u2212', '-'));
        return Number.isNaN(number) || text === '' ? text : number;
      };
      const order = (a, b) => (typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b)));
      body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * order(value(a), value(b))));
    } } }, ...head.childNodes);
    head.replaceChildren(button);
  });
}
