// The page: which trace, which process, and what of their address spaces.

let trace = null;
let chosenTrace = 0;
let chosenProcess = 0;
let space = null;      // of the process, unpacked
let settled = false;

const rows = [...$('traces').tBodies[0].rows];

// --- traces ---

function drawTraces() {
  document.documentElement.classList.add('scripted');
  const several = DATA.traces.length > 1;
  $('traces-section').classList.toggle('alone', !several);
  if (!several) return;
  $('filters').hidden = false;
  for (const row of rows) {
    const head = row.cells[0];
    put(head, make('button', { type: 'button', class: 'link', on: { click: () => { showTrace(Number(row.dataset.trace)); $('trace-head').scrollIntoView(); } } }, head.textContent));
  }
  sortable($('traces'));
  $('equal-traces').checked = DATA.traces.every((each) => each.equal);
  $('equal-traces').addEventListener('change', filterTraces);
  $('find').addEventListener('input', filterTraces);
  filterTraces();
}

function filterTraces() {
  const wanted = $('find').value.trim().toLowerCase();
  let away = 0;
  let shown = 0;
  for (const row of rows) {
    const hidden = (row.classList.contains('equal') && !$('equal-traces').checked) || !row.textContent.toLowerCase().includes(wanted);
    row.classList.toggle('away', hidden);
    if (hidden) away += 1; else shown += 1;
  }
  put($('found'), away ? `${count(shown)} of ${count(rows.length)}` : '');
}

function showTrace(index) {
  chosenTrace = index;
  trace = DATA.traces[index];
  PAGE = trace.page_size;
  maps.names = trace.sides;
  for (const row of rows) row.setAttribute('aria-current', Number(row.dataset.trace) === index ? 'true' : 'false');
  $('name').hidden = DATA.traces.length < 2;
  put($('name'), trace.name);
  put($('description'), trace.description || trace.path);
  put($('notes'), ...trace.notes.map((note) => make('p', { class: 'note' }, sentence(note))));
  const { processes } = trace;
  $('process-choice').hidden = processes.length < 2;
  put($('process'), ...processes.map((process, i) => make('option', { value: i }, `${process.pid}: ${process.vmas.map((n) => (n === null ? 'none' : n)).join(' \u2192 ')}`)));
  drawSummary();
  drawCauses(trace);
  drawEvents(trace);
  $('space').hidden = !processes.length;
  $('equal-vmas').checked = false;
  const differing = processes.findIndex((_, i) => opened(trace, i).blocks.length);
  if (processes.length) showProcess(Math.max(differing, 0));
  else {
    drawBlocks(trace, []);
    remember();
  }
}

function drawSummary() {
  $('summary').hidden = false;
  const found = new Map(trace.totals.map(([name, a, b]) => [name, [a, b]]));
  const said = (value) => (value === null || value === undefined ? '?' : count(value));
  const [a, b] = found.get('VMAs') || [null, null];
  const number = (side, value) => make('span', { class: `side-${side}` }, make('span', { class: 'hero-number' }, said(value)), make('span', { class: 'hero-model' }, dot(side), trace.names[side]));
  const change = a === null || b === null ? null : a - b;
  const words = trace.equal ? 'VMAs at the end: the two are equal.' : change === null ? 'VMAs at the end.' : change > 0 ? `VMAs at the end: ${count(change)} fewer.` : change < 0 ? `VMAs at the end: ${count(-change)} more.` : 'VMAs at the end: as many, but not the same.';
  put($('hero'), make('div', { class: 'hero-pair' }, number(0, a), make('span', { class: 'hero-arrow', 'aria-hidden': 'true' }, '\u2192'), make('span', { class: 'spoken' }, ' to '), number(1, b)), make('p', { class: 'hero-words' }, words));
  const by = (from, to) => (from === null || to === null || from === to ? '' : make('b', {}, signed(to - from)));
  put($('facts'),
    make('thead', {}, make('tr', {}, make('td', {}), ...trace.sides.map((side, i) => make('th', { scope: 'col' }, dot(i), side)), make('th', { scope: 'col' }, 'change'))),
    make('tbody', {}, ...trace.totals.map(([name, from, to]) => make('tr', {}, make('th', { scope: 'row' }, sentence(name).slice(0, -1)), make('td', {}, said(from)), make('td', {}, said(to)), make('td', {}, by(from, to))))));
}

// --- address spaces ---

function showProcess(index) {
  chosenProcess = index;
  space = opened(trace, index);
  $('process').value = index;
  maps.chosen = null;
  maps.zoom = 1;
  maps.fit = false;
  $('maps').scrollTop = 0;
  drawBlocks(trace, space.blocks);
  drawSpace();
}

const showsAll = () => $('equal-vmas').checked || !space.blocks.length;

function drawSpace() {
  const all = showsAll();
  maps.layouts = all ? space.whole : space.apart;
  maps.changed = all ? space.apart.map((vmas) => (vmas || []).map((vma) => vma.start)) : [[], []];
  maps.holds = all ? () => '' : (start, end) => {
    const equal = among(space.equal, start, end);
    return equal ? `${plural(equal, 'equal VMA')}, ${size(end - start)}` : '';
  };
  const used = new Set(maps.layouts.flatMap((layout) => layout || []).map((vma) => vma.attributes));
  drawLegend([...used].map((number) => maps.attributes[number]), []);
  maps.axis = axisOf(maps.layouts.flatMap((layout) => layout || []));
  scaleMaps();
  for (const side of [0, 1]) {
    const total = trace.processes[chosenProcess].vmas[side];
    const own = (space.apart[side] || []).length;
    put($(`head-${side}`), dot(side), make('b', {}, trace.sides[side]),
      make('span', { class: 'count' }, total === null ? 'no such process' : plural(total, 'VMA')),
      make('span', { class: 'step' }, total !== null && own !== total ? `${count(own)} of them only here` : ''));
  }
  drawMaps();
  drawOverview();
  drawDetail();
  remember();
}

function chosenVma() {
  if (!maps.chosen) return null;
  return (maps.layouts[maps.chosen.side] || []).find((vma) => vma.start === maps.chosen.start) || null;
}

function drawDetail() {
  const vma = chosenVma();
  $('detail').classList.toggle('open', vma !== null);
  if (!vma) {
    const first = space.blocks[0];
    put($('detail'), make('h3', {}, space.blocks.length ? plural(space.blocks.length, 'difference') : 'Nothing differs here'),
      make('p', { class: 'empty' }, 'Choose a VMA: here is said how the two sides differ there, and because of what.'),
      first ? make('p', {}, make('button', { type: 'button', class: 'link', on: { click: () => showBlock(first) } }, 'The first one')) : null);
    return;
  }
  const close = make('button', { type: 'button', class: 'link close', on: { click: unchoose } }, 'close');
  const block = vma.side === BOTH ? null : space.blocks.find((each) => each.start <= vma.start && vma.start < each.end);
  put($('detail'), close, ...(block ? blockDetail(block) : [...vmaDetail(vma), make('p', { class: 'empty' }, 'Both sides have it.')]));
}

const LISTED = 8;
function vmaList(vmas) {
  const said = (vma) => {
    const [perms, codes, name] = maps.attributes[vma.attributes];
    return `${range(vma.start, vma.end)} ${size(vma.end - vma.start)} ${perms}${codes.split(' ').includes('mg') ? ' mg' : ''} ${shortName(name)}`;
  };
  const rest = vmas.length - LISTED;
  return make('ul', {}, ...vmas.slice(0, LISTED).map((vma) => make('li', {}, said(vma))), rest > 0 ? make('li', {}, `and ${count(rest)} more`) : null);
}

function blockDetail(block) {
  const nodes = [
    make('h3', {}, sentence(whatDiffers(block, trace.sides)).slice(0, -1)),
    make('p', { class: 'where' }, make('code', {}, range(block.start, block.end)), ` ${size(block.end - block.start)}`),
  ];
  const [a, b] = block.sides;
  if (a.length === 1 && b.length === 1) nodes.push(pairTable(a[0], b[0], trace.sides));
  else {
    block.sides.forEach((vmas, side) => nodes.push(make('h4', {}, dot(side), `${trace.sides[side]}: ${vmas.length ? plural(vmas.length, 'VMA') : 'nothing'}`), vmas.length ? vmaList(vmas) : null));
  }
  if (block.causes.length) {
    nodes.push(make('div', { class: 'mend' }, ...block.causes.map((index) => {
      const [name, summary, , commit, subject, release, url] = featureOf(index);
      return make('p', {}, make('b', {}, name), `: ${sentence(summary)} `, ...(commit ? [release ? `Linux ${release}: ` : '', commitLink(commit, subject, url)] : []));
    })));
  }
  if (block.touched >= 0) {
    const [line, call] = trace.shown[block.touched];
    nodes.push(make('h4', {}, 'They parted here first in ', make('button', { type: 'button', class: 'link', on: { click: () => showEvent(block.touched) } }, `line ${count(line)}`)), make('blockquote', {}, call));
  }
  return nodes.filter((node) => node !== null);
}

function showBlock(block) {
  const side = block.sides[0].length ? 0 : 1;
  const { start } = block.sides[side][0];
  maps.chosen = { what: 'vma', side, start };
  $('space').scrollIntoView();
  reveal(start);
  drawMaps();
  drawDetail();
  focusKey(start, `v${side}-${start}`);
  remember();
}

// --- the fragment of the URL: what its sender saw ---

function remember() {
  if (!settled) return;
  const parts = {};
  if (DATA.traces.length > 1) parts.trace = chosenTrace;
  if (trace.processes.length > 1) parts.process = chosenProcess;
  if ($('equal-vmas').checked) parts.all = 1;
  if (maps.chosen) parts.vma = `${maps.chosen.side}:${hex(maps.chosen.start)}`;
  keepInAddress(parts);
}

function recall() {
  const asked = askedInAddress();
  const number = (name, most) => (/^\d+$/.test(asked.get(name) || '') && Number(asked.get(name)) < most ? Number(asked.get(name)) : null);
  const differing = DATA.traces.findIndex((each) => !each.equal);
  showTrace(number('trace', DATA.traces.length) ?? Math.max(differing, 0));
  const process = number('process', trace.processes.length);
  if (process !== null && process !== chosenProcess) showProcess(process);
  if (asked.get('all') === '1' && space) {
    $('equal-vmas').checked = true;
    drawSpace();
  }
  const place = /^([01]):([0-9a-f]{1,16})$/.exec(asked.get('vma') || '');
  if (!place || !trace.processes.length) return;
  const start = Number(BigInt(`0x${place[2]}`) / BigInt(PAGE));
  const side = Number(place[1]);
  if (!(maps.layouts[side] || []).some((vma) => vma.start === start)) return;
  maps.chosen = { what: 'vma', side, start };
  reveal(start);
  drawMaps();
  drawDetail();
}

Object.assign(maps, { attributes: DATA.attributes, when: 'here' });
put($('remarks'), make('p', {}, `Made by vmatrace ${DATA.version}. This file is complete: it loads nothing; only links to commits lead out of it.`));
drawTraces();
if (DATA.traces.length) {
  $('equal-vmas').addEventListener('change', () => { maps.chosen = null; drawSpace(); });
  $('process').addEventListener('change', () => showProcess(Number($('process').value)));
  listenMaps();
  listenOverview();
  listenGoTo();
  window.addEventListener('hashchange', recall);
  onWidth(() => { if (space) { scaleMaps(); drawMaps(); drawOverview(); } });
  recall();
}
settled = true;
listenTheme(() => { if (trace) remember(); });
document.documentElement.dataset.drawn = '';
