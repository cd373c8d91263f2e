// Ways into the page and out of it: an address or a name, the fragment of its URL, files.

// Event, process, what is chosen and the colours, so that a link leads to what its sender saw.
let settled = false;
function remember() {
  if (!settled) return;
  const parts = { event: FRAMES[current].number };
  if (DATA.processes.length > 1) parts.process = chosenProcess;
  if (maps.chosen) parts[maps.chosen.what] = `${maps.chosen.side}:${hex(maps.chosen.start)}`;
  keepInAddress(parts);
}

function recall() {
  const asked = askedInAddress();
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
  listenGoTo();
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
