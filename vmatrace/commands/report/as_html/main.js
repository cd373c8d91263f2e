// The page: numbers, tables, the slider and the keys.

let current = 0;     // frame
let chosenProcess = 0;
let playing = null;
let steady = null;   // the axis of the maps, where it is the same at all events

const STEADY = 500;  // stretches up to which the axis stays

// As long as that is legible the axis holds every address that the process ever maps, so that
// nothing moves when the event changes; else it holds those of the two layouts that are shown.
function steadyAxis(process) {
  const axis = axisOf(TIMES[process].flat().flatMap((change) => change.come));
  return axis.parts.length > STEADY ? null : axis;
}

function drawHead() {
  document.title = `${DATA.trace}: ${DATA.models.join(' \u2192 ')}`;
  put($('name'), DATA.trace);
  put($('description'), DATA.description || `${plural(DATA.events, 'event')}, replayed under ${DATA.models[0]} and under ${DATA.models[1]}.`);
  if (DATA.off) {
    $('off').hidden = false;
    put($('off'), 'KSM by default is off in this trace, so the series changes nothing. ', make('code', {}, 'vmatrace report --ksm'), ' shows what it costs with it.');
  }
  const lines = [...DATA.remarks];
  if (DATA.every > 1) lines.push(`The trace has ${plural(DATA.events, 'event')}. The maps can be seen after every ${count(DATA.every)} of them, at the peaks and at the end; plot and tables count every event.`);
  if (DATA.unlisted) lines.push(`Not shown: ${plural(DATA.unlisted, 'process', 'processes')} with lower peaks.`);
  lines.push('Replayed without max_map_count, so that the count beyond it is known.');
  lines.push(`Made by vmatrace ${DATA.version}. This file is complete: it loads nothing.`);
  put($('remarks'), ...lines.map((line) => make('p', {}, line)));
}

function drawSummary() {
  const process = DATA.processes[chosenProcess];
  const [a, b] = process.counts;
  const number = (side, value) => make('span', { class: `side-${side}` }, make('span', { class: 'hero-number' }, count(value)), make('span', { class: 'hero-model' }, dot(side), DATA.models[side]));
  const change = a.peak - b.peak;
  const percent = a.peak ? Math.round(change / a.peak * 100) : 0;
  const words = change > 0
    ? [make('strong', {}, `${plural(change, 'VMA')} (${percent}%) fewer`), ` at the peak of ${process.name}`]
    : change < 0 ? [make('strong', {}, `${plural(-change, 'VMA')} more`), ` at the peak of ${process.name}`]
      : [make('strong', {}, 'The same'), ` at the peak of ${process.name}`];
  put($('hero'), make('div', { class: 'hero-pair' }, number(0, a.peak), make('span', { class: 'hero-arrow', 'aria-hidden': 'true' }, '\u2192'), make('span', { class: 'spoken' }, ' to '), number(1, b.peak)), make('p', { class: 'hero-words' }, ...words, '.'));
  const at = (moment) => make('small', {}, moment[0] ? ` line ${count(moment[1])}` : ' at the start');
  const limit = (side) => (side.limit_at ? make('span', { class: 'bad' }, `hit in line ${count(side.limit_at[1])}`) : 'not hit');
  const share = (side) => [count(side.only), make('small', {}, side.blocked ? ` of ${count(side.blocked)} (${Math.round(side.only / side.blocked * 100)}%)` : '')];
  const rows = [
    ['Peak', ...[a, b].map((side) => [count(side.peak), at(side.peak_at)])],
    [process.exited ? 'VMAs at its exit' : 'VMAs at the end', count(a.vmas), count(b.vmas)],
    [`Headroom to ${count(DATA.limit)}`, ...[a, b].map((side) => count(Math.max(DATA.limit - side.peak, 0)))],
    ['max_map_count', limit(a), limit(b)],
    ['Merges', count(a.merges), count(b.merges)],
    ['Blocked by VM_MERGEABLE alone', share(a), share(b)],
  ];
  put($('facts'),
    make('thead', {}, make('tr', {}, make('td', {}), ...DATA.models.map((model, side) => make('th', { scope: 'col' }, dot(side), model)))),
    make('tbody', {}, ...rows.map(([head, ...cells]) => make('tr', {}, make('th', { scope: 'row' }, head), ...cells.map((cell) => make('td', {}, ...[cell].flat()))))));
}

function drawPatterns() {
  if (!DATA.patterns.length) {
    put($('patterns'), make('p', { class: 'nothing' }, `No kind of call makes more VMAs under ${DATA.models[0]} than under ${DATA.models[1]}.`));
    return;
  }
  const most = DATA.patterns[0].cost;
  const bar = (cost) => draw('svg', { viewBox: '0 0 100 8', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, draw('rect', { width: Math.max(cost / most * 100, 1), height: 8, rx: 1 }));
  const rows = DATA.patterns.map((pattern) => make('tr', {},
    make('td', { class: 'cost' }, count(pattern.cost)),
    make('td', { class: 'bar-cell' }, bar(pattern.cost)),
    make('td', { class: 'text' }, make('button', { type: 'button', class: 'link', title: 'Show the first of these calls', on: { click: () => showLine(pattern.line) } }, make('code', {}, pattern.call)), pattern.caller ? make('span', { class: 'by' }, `by ${pattern.caller}`) : null),
    make('td', {}, count(pattern.calls)), make('td', {}, signed(pattern.added[0])), make('td', {}, signed(pattern.added[1]))));
  const heads = [['cost', ''], ['', 'bar-cell'], ['call', 'text'], ['calls', ''], [DATA.models[0], ''], [DATA.models[1], '']];
  put($('patterns'),
    make('div', { class: 'scroll' }, make('table', { class: 'list' },
      make('thead', {}, make('tr', {}, ...heads.map(([head, name]) => (head ? make('th', { class: name, scope: 'col' }, head) : make('td', { class: name }))))),
      make('tbody', {}, ...rows))),
    make('p', { class: 'after' }, `Cost: the VMAs that these calls left under ${DATA.models[0]}, less those under ${DATA.models[1]}. Calls that unmap give some of it back. A click on a call shows the first of its kind.`));
  sortable($('patterns').querySelector('table'));
}

function drawProcesses() {
  if (DATA.processes.length < 2) return;
  $('processes-section').hidden = false;
  $('process-choice').hidden = false;
  put($('process'), ...DATA.processes.map((process, i) => make('option', { value: i }, process.name + (process.exited ? ', exited' : ''))));
  $('process').addEventListener('change', () => showProcess(Number($('process').value)));
  const heads = ['process', 'events', `peak, ${DATA.models[0]}`, `peak, ${DATA.models[1]}`, `at the end, ${DATA.models[0]}`, `at the end, ${DATA.models[1]}`, 'blocked by mg alone'];
  const rows = DATA.processes.map((process, i) => make('tr', { 'data-process': i },
    make('th', { scope: 'row', class: 'text' }, make('button', { type: 'button', class: 'link', on: { click: () => { showProcess(i); window.scrollTo(0, 0); } } }, process.name), process.exited ? ', exited' : null),
    ...[process.events, process.counts[0].peak, process.counts[1].peak, process.counts[0].vmas, process.counts[1].vmas, process.counts[0].only].map((number) => make('td', {}, count(number)))));
  put($('processes'), make('thead', {}, make('tr', {}, ...heads.map((head, i) => make('th', { scope: 'col', class: i ? '' : 'text' }, head)))), make('tbody', {}, ...rows));
  sortable($('processes'));
}

function drawEvent() {
  const frame = FRAMES[current];
  const place = [`Event ${count(frame.number)} of ${count(DATA.events)}`];
  if (frame.line) place.push(`line ${count(frame.line)}`);
  if (DATA.processes.length > 1 && frame.process >= 0) place.push(DATA.processes[frame.process].name);
  const line = place.join('  \u00b7  ');
  const failed = frame.results.some((result) => result.startsWith('-1 '));
  put($('event'), make('span', { class: 'event-place' }, line),
    frame.number ? make('code', {}, frame.call, make('span', { class: failed ? 'failed' : 'result' }, ` = ${frame.results.join(' or ')}`)) : 'Before the first event.');
  $('slider').value = current;
  $('slider').setAttribute('aria-valuetext', `${place.join(', ')}: ${frame.call}`);
  $('back').disabled = current === 0;
  $('forth').disabled = current === FRAMES.length - 1;
  const costs = costsOf(chosenProcess);
  $('previous-cost').disabled = !costs.length || costs[0] >= current;
  $('next-cost').disabled = !costs.length || costs[costs.length - 1] <= current;
}

function drawHeads() {
  for (const side of [0, 1]) {
    const layout = maps.layouts[side];
    const before = current ? layoutAt(chosenProcess, side, current - 1) : null;
    const change = layout && before ? layout.length - before.length : 0;
    put($(`head-${side}`), dot(side), make('b', {}, DATA.models[side]),
      make('span', { class: 'count' }, !layout ? 'not there yet' : gone(chosenProcess, current) ? `exited with ${plural(layout.length, 'VMA')}` : plural(layout.length, 'VMA')),
      make('span', { class: 'step' }, change ? signed(change) : ''));
  }
}

function show(frame) {
  current = Math.min(Math.max(frame, 0), FRAMES.length - 1);
  chart.frame = current;
  maps.dead = gone(chosenProcess, current);
  maps.layouts = [0, 1].map((side) => layoutAt(chosenProcess, side, current));
  maps.changed = [0, 1].map((side) => (current ? changedAt(chosenProcess, side, current) : []));
  if (!steady) {
    // The addresses at the top stay at the top.
    const page = maps.axis && maps.axis.parts.length ? maps.axis.parts[partAtY(maps.axis, $('maps').scrollTop)].start : 0;
    maps.axis = axisOf(maps.layouts.flatMap((layout) => layout || []));
    scaleMaps();
    if (maps.axis.parts.length) $('maps').scrollTop = yOf(maps.axis, Math.max(page, maps.axis.parts[0].start)) - HEADER;
  }
  drawEvent();
  drawHeads();
  revealChange();
  drawMaps();
  drawOverview();
  drawFills();
  drawDetail();
  markChart();
  remember();
}

// The event that a line of the trace holds.
function showLine(line) {
  const frame = FRAMES.findIndex((each) => each.line >= line);
  if (frame < 0) return;
  play(false);
  if (FRAMES[frame].process >= 0 && FRAMES[frame].process !== chosenProcess) {
    current = frame;
    showProcess(FRAMES[frame].process);
  } else show(frame);
  $('space').scrollIntoView();
}

function showProcess(process) {
  chosenProcess = chart.process = process;
  maps.chosen = null;
  $('process').value = process;
  for (const row of $('processes').querySelectorAll('[data-process]')) row.setAttribute('aria-current', Number(row.dataset.process) === process ? 'true' : 'false');
  steady = steadyAxis(process);
  maps.axis = steady;
  $('maps').scrollTop = 0;
  maps.zoom = 1;
  maps.fit = false;
  if (maps.axis) scaleMaps();
  drawSummary();
  drawChart();
  show(current);
}

// Frames at which the difference grew, for the process that is shown.
function jump(direction) {
  const costs = costsOf(chosenProcess);
  const goal = direction > 0 ? costs.find((frame) => frame > current) : costs.filter((frame) => frame < current).pop();
  if (goal !== undefined) show(goal);
}

function play(on) {
  if (playing) clearInterval(playing);
  playing = on ? setInterval(() => { if (current >= FRAMES.length - 1) play(false); else show(current + 1); }, Math.max(40, Math.min(400, 20000 / FRAMES.length))) : null;
  $('play').setAttribute('aria-pressed', on ? 'true' : 'false');
  $('play').setAttribute('aria-label', on ? 'Pause' : 'Play');
  $('event').setAttribute('aria-live', on ? 'off' : 'polite');
}

function listen() {
  $('slider').max = FRAMES.length - 1;
  $('slider').addEventListener('input', () => { play(false); show(Number($('slider').value)); });
  $('back').addEventListener('click', () => { play(false); show(current - 1); });
  $('forth').addEventListener('click', () => { play(false); show(current + 1); });
  $('previous-cost').addEventListener('click', () => { play(false); jump(-1); });
  $('next-cost').addEventListener('click', () => { play(false); jump(1); });
  $('play').addEventListener('click', () => {
    if (!playing && current === FRAMES.length - 1) show(0);
    play(!playing);
  });
  listenMaps();
  onWidth(() => {
    drawChart();
    drawMaps();
    drawOverview();
  });
  listenTheme(remember);
}

function highest() {
  let best = 0;
  const peak = (process) => Math.max(...process.counts.map((side) => side.peak));
  DATA.processes.forEach((process, i) => { if (peak(process) > peak(DATA.processes[best])) best = i; });
  return best;
}

drawHead();
drawPatterns();
Object.assign(maps, { attributes: DATA.attributes, names: DATA.models, when: 'after this event', why: (border) => [DATA.borders[border][0], WHY[DATA.borders[border][0]]] });
const usedWhys = new Set(DATA.borders.map(([why]) => why));
drawLegend(DATA.attributes, Object.entries(WHY).filter(([why]) => usedWhys.has(why)));
drawProcesses();
listen();
listenOverview();
listenLinks();
chosenProcess = highest();
current = FRAMES.findIndex((frame, index) => gone(chosenProcess, index)) - 1;
if (current < 0) current = FRAMES.length - 1;
recall();
settled = true;
document.documentElement.dataset.drawn = '';
