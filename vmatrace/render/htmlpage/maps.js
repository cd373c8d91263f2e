// Both address maps side by side on one axis: the same address is at the same height in both.
//
// The page says what is in them: the *layouts* of both sides (null: there is none), in pages, whose
// *attributes* are rows of permissions, VmFlags, name and kind; the *names* of the sides; the starts
// of what *changed*; which VMAs are *picked*; *why* a border is there, as its class and its words;
// what a stretch without VMAs *holds* that is left out; and *when* all that is, in words. It defines drawDetail() and remember().

const maps = {
  axis: null, zoom: 1, fit: false, chosen: null, layouts: [null, null], changed: [[], []], dead: false,
  attributes: [], names: [], picked: () => true, why: () => ['', ''], holds: () => '', when: '',
};
const KINDS = ['anon', 'heap', 'stack', 'file', 'special', 'assumed'];
const HEADER = 28;   // pixels above a cluster, for its address and the gap before it
const LEAST = 6;     // pixels that a stretch of memory has at least
const ROOMY = 20;    // the same where not everything can be in view anyway: room for a line of text
const MOST = 150;    // and at most; longer ones are cut, and show it
const LARGEST = 30;  // pixels of one page at most
const NEAR = 16;     // pages: a hole up to here is drawn to scale inside its cluster

// Stretches between all addresses where one of *vmas* begins or ends.
function stretches(vmas) {
  const steps = new Map();
  const step = (page, by) => steps.set(page, (steps.get(page) || 0) + by);
  for (const vma of vmas) {
    step(vma.start, 1);
    step(vma.end, -1);
  }
  const pages = [...steps.keys()].sort((a, b) => a - b);
  const found = [];
  let depth = 0;
  pages.forEach((page, index) => {
    depth += steps.get(page);
    if (index + 1 === pages.length) return;
    const size = pages[index + 1] - page;
    const holds = depth === 0 ? maps.holds(page, page + size) : '';
    found.push({ index, start: page, end: page + size, pages: size, holds, far: depth === 0 && (size > NEAR || holds !== '') });
  });
  return found;
}

const axisOf = (vmas) => ({ parts: stretches(vmas), unit: 1, least: LEAST, header: HEADER, height: 0 });

const tall = (part, axis, unit) => Math.min(Math.max(part.pages * unit, axis.least), MOST);

const fixedHeight = (axis) => axis.header * (1 + axis.parts.filter((part) => part.far).length) + 12;

// The height that shows everything at once if that can be, and else everything legibly.
function comfortable(axis, height) {
  axis.header = HEADER;
  const near = axis.parts.filter((part) => !part.far).length;
  axis.least = fixedHeight(axis) + LEAST * near <= height ? LEAST : ROOMY;
  return axis.least === LEAST ? height : fixedHeight(axis) + 1.5 * ROOMY * near;
}

// The same as one picture: what has no room for words has none, and thin ones are as thin as need be.
function fitted(axis, height) {
  const near = axis.parts.filter((part) => !part.far).length;
  axis.header = Math.min(HEADER, height * 0.4 / (axis.parts.length - near + 1));
  axis.least = Math.min(LEAST, Math.max(height - fixedHeight(axis), 0) * 0.8 / Math.max(near, 1));
  return height;
}

// Choose pixels for a page so that the whole axis is about as high as wanted.
function layAxis(axis, wanted) {
  const fixed = fixedHeight(axis);
  const total = (unit) => fixed + axis.parts.reduce((sum, part) => sum + (part.far ? 0 : tall(part, axis, unit)), 0);
  let low = 1e-6;
  let high = LARGEST;
  for (let i = 0; i < 40; i++) {
    const middle = Math.sqrt(low * high);
    if (total(middle) > wanted) high = middle; else low = middle;
  }
  axis.unit = high > LARGEST * 0.999 ? LARGEST : low;
  let y = axis.header;
  axis.parts.forEach((part) => {
    part.top = y;
    part.height = part.far ? axis.header : tall(part, axis, axis.unit);
    part.cut = !part.far && part.pages * axis.unit > MOST;
    y += part.height;
  });
  axis.height = y + 12;
}

function partAt(axis, page) {
  let low = 0;
  let high = axis.parts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (axis.parts[middle].start <= page) low = middle; else high = middle - 1;
  }
  return axis.parts[low];
}
function partAtY(axis, y) {
  let low = 0;
  let high = axis.parts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (axis.parts[middle].top <= y) low = middle; else high = middle - 1;
  }
  return Math.max(low, 0);
}
function yOf(axis, page) {
  const part = partAt(axis, page);
  return part.top + (page - part.start) / part.pages * part.height;
}
// Ends belong to the stretch before them: a gap behind must not stretch a VMA.
const yEnd = (axis, page) => { const part = partAt(axis, page - 1); return part.top + part.height * (page - part.start) / part.pages; };

function firstBelow(layout, page) {
  let low = 0;
  let high = layout.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (layout[middle].end > page) high = middle; else low = middle + 1;
  }
  return low;
}

const place = (element, top, height) => {
  element.style.top = `${top}px`;
  if (height !== null) element.style.height = `${height}px`;
  return element;
};

// Only what can be seen is drawn; a map may have many thousand VMAs.
function drawMaps() {
  const { axis } = maps;
  const box = $('maps');
  const canvas = $('canvas');
  const focus = document.activeElement && canvas.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  canvas.style.height = `${axis.height}px`;
  const above = box.scrollTop - 200;
  const below = box.scrollTop + box.clientHeight + 200;
  const visible = axis.parts.slice(partAtY(axis, above), partAtY(axis, below) + 1);
  let nodes = [];
  if (visible.length) {
    nodes = drawParts(axis, visible);
    const low = visible[0].start;
    const high = visible[visible.length - 1].end;
    for (const side of [0, 1]) nodes = nodes.concat(drawSide(axis, side, low, high));
  }
  const drawn = document.createDocumentFragment();
  for (const node of nodes) drawn.append(node);
  put(canvas, drawn);
  canvas.classList.toggle('exited', maps.dead);
  markBrush();
  if (focus) {
    const again = canvas.querySelector(`[data-key="${focus}"]`);
    if (again) again.focus({ preventScroll: true });
  }
}

function drawParts(axis, visible) {
  const nodes = [];
  let top = visible[0].top;
  visible.forEach((part, i) => {
    const { index } = part;
    if (part.far) top = part.top + part.height;
    if (axis.header >= 15 && (index === 0 || part.far)) {
      const first = part.far ? index + 1 : 0;
      let last = first;
      while (last + 1 < axis.parts.length && !axis.parts[last + 1].far) last++;
      const start = axis.parts[first].start;
      nodes.push(place(make('div', { class: 'cluster' }, make('span', {}, hex(start)),
        make('span', { class: 'span' }, size(axis.parts[last].end - start)),
        make('span', { class: 'gap' }, part.far ? part.holds || `gap ${size(part.pages)}` : '')),
      axis.parts[first].top - axis.header + 4, axis.header - 4));
    }
    // What is behind the VMAs of a cluster shows where a side has none.
    const next = visible[i + 1];
    if (!part.far && (!next || next.far)) {
      for (const side of [0, 1]) nodes.push(place(make('div', { class: `hole col-${side}` }), top, part.top + part.height - top));
    }
    if (part.cut) {
      const path = `M0 8${Array.from({ length: 80 }, (_, i) => `l8 ${i % 2 ? 6 : -6}`).join('')}`;
      const wave = draw('svg', { preserveAspectRatio: 'none', viewBox: '0 0 640 10', 'aria-hidden': 'true' }, draw('path', { d: path }));
      nodes.push(place(make('div', { class: 'cut' }, wave), part.top + part.height * 0.75, 10));
    }
  });
  return nodes;
}

function drawSide(axis, side, low, high) {
  const layout = maps.layouts[side];
  if (!layout) return [];
  const nodes = [];
  const changed = new Set(maps.changed[side]);
  let last = -1e9;
  let first = true;
  let drawn = -1;
  let drawnMarked = -1;
  for (let i = firstBelow(layout, low); i < layout.length && layout[i].start < high; i++) {
    const vma = layout[i];
    const top = yOf(axis, vma.start);
    const bottom = yEnd(axis, vma.end);
    // What shares a pixel with the one before it is not drawn twice; of what changed one is.
    const marked = changed.has(vma.start);
    if (bottom - drawn < 0.75 && !(marked && bottom - drawnMarked >= 0.75) && !isChosen('vma', side, vma.start) && !isChosen('border', side, vma.start)) continue;
    drawn = Math.max(bottom, top + 1);
    if (marked) drawnMarked = drawn;
    nodes.push(drawVma(side, vma, top, bottom - top, marked, first));
    if (vma.border >= 0) {
      const next = yEnd(axis, vma.end);
      nodes.push(drawBorder(side, vma, top, Math.min(top - last, next - top) < 13, first));
      first = false;
    }
    last = top;
  }
  return nodes;
}

function drawVma(side, vma, top, height, changed, first) {
  const [perms, codes, name, kind] = maps.attributes[vma.attributes];
  const mergeable = codes.split(' ').includes('mg');
  const element = make('button', {
    type: 'button', 'data-key': `v${side}-${vma.start}`, 'data-side': side, 'data-vma': vma.start,
    tabindex: first || isChosen('vma', side, vma.start) ? 0 : -1,
    'aria-pressed': isChosen('vma', side, vma.start) ? 'true' : 'false',
    'aria-label': `${maps.names[side]}: ${range(vma.start, vma.end)}, ${size(vma.end - vma.start)}, ${perms}, ${name || 'anonymous'}${mergeable ? ', mergeable' : ''}`,
    class: `vma col-${side} ${kind}${mergeable ? ' mergeable' : ''}${changed ? ' changed' : ''}${isChosen('vma', side, vma.start) ? ' chosen' : ''}${maps.picked(vma) ? '' : ' dim'}`,
    title: `${range(vma.start, vma.end)} ${size(vma.end - vma.start)} ${perms} ${name || 'anonymous'}`,
    on: { click: () => choose('vma', side, vma.start) },
  });
  if (height >= 17) {
    element.append(make('span', { class: 'perms' }, perms), make('span', {}, shortName(name)));
    if (mergeable) element.append(make('span', { class: 'mg' }, 'mg'));
    element.append(make('span', { class: 'size' }, size(vma.end - vma.start)));
  }
  // In one that reaches beyond what is in view the words stay in view.
  const box = $('maps');
  if (height > box.clientHeight) {
    element.style.alignItems = 'flex-start';
    element.style.paddingTop = `${Math.min(Math.max(box.scrollTop - top, 0) + box.clientHeight / 3, height - 30)}px`;
  }
  // A hair of background between VMAs that touch.
  return place(element, top + (vma.border >= 0 ? 0.5 : 0), Math.max(height - 1, 1));
}

const shortName = (name) => (name ? name.replace(/^.*\/(?=[^/])/, '') : 'anonymous');

// *first*: the tab key stops at the first border of each map; arrows go on from there.
function drawBorder(side, below, y, tight, first) {
  const [why, words] = maps.why(below.border);
  const pressed = isChosen('border', side, below.start);
  const element = make('button', {
    type: 'button', class: `border col-${side} why-${why}${tight ? ' tight' : ''}`,
    'data-key': `${side}-${below.start}`, 'data-side': side, 'data-start': below.start,
    tabindex: first || pressed ? 0 : -1, 'aria-pressed': pressed ? 'true' : 'false',
    'aria-label': `${maps.names[side]}: border at ${hex(below.start)}, ${words}`,
    on: { click: () => choose('border', side, below.start) },
  });
  return place(element, y - (tight ? 3.5 : 7.5), null);
}

const isChosen = (what, side, start) => maps.chosen !== null && maps.chosen.what === what
  && maps.chosen.side === side && maps.chosen.start === start;

// Bring what the event changed into view, unless something of it is there; of an event that changed
// nothing, any VMA at all (the addresses of an older image may be all that is there).
function revealChange() {
  const { axis } = maps;
  let starts = [...maps.changed[0], ...maps.changed[1]];
  if (!starts.length) starts = maps.layouts.flatMap((layout) => (layout || []).map((vma) => vma.start));
  if (!starts.length) return;
  const box = $('maps');
  const ys = starts.map((start) => yOf(axis, start));
  if (ys.some((y) => y >= box.scrollTop + 10 && y <= box.scrollTop + box.clientHeight - 30)) return;
  box.scrollTop = Math.min(...ys) - box.clientHeight / 3;
}

// Arrow keys from a border: up and down to the next one of a map, left and right to the nearest of the other.
function walkMaps(event) {
  const { side, start, vma } = event.target.dataset;
  if (vma !== undefined) return walkVmas(event, Number(side), Number(vma));
  if (side === undefined) {
    // From the box itself they lead in, to the first that is in view.
    if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return undefined;
    const all = [...$('canvas').querySelectorAll('button')];
    const inside = ['border', 'vma'].map((kind) => all.find((each) => each.classList.contains(kind) && each.offsetTop >= $('maps').scrollTop)).find((each) => each);
    if (!inside) return undefined;
    event.preventDefault();
    return inside.focus({ preventScroll: true });
  }
  const here = Number(start);
  const borders = (of) => maps.layouts[of].filter((vma) => vma.border >= 0);
  let goal;
  let to = Number(side);
  if (event.key === 'ArrowDown') goal = borders(to).find((vma) => vma.start > here);
  else if (event.key === 'ArrowUp') goal = borders(to).filter((vma) => vma.start < here).pop();
  else if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') {
    to = event.key === 'ArrowLeft' ? 0 : 1;
    const distance = (vma) => Math.abs(vma.start - here);
    goal = borders(to).reduce((best, vma) => (best && distance(best) <= distance(vma) ? best : vma), undefined);
  } else return undefined;
  event.preventDefault();
  if (goal) focusBorder(to, goal.start);
  return undefined;
}

// The same from VMA to VMA.
function walkVmas(event, side, here) {
  const layout = maps.layouts[side];
  const index = layout.findIndex((vma) => vma.start === here);
  const across = (to) => { const other = maps.layouts[to] || []; return other[Math.min(firstBelow(other, here), other.length - 1)]; };
  const goals = {
    ArrowDown: () => [side, layout[index + 1]], ArrowUp: () => [side, layout[index - 1]],
    ArrowLeft: () => [0, across(0)], ArrowRight: () => [1, across(1)],
  };
  if (!(event.key in goals)) return;
  event.preventDefault();
  const [to, goal] = goals[event.key]();
  if (goal) focusKey(goal.start, `v${to}-${goal.start}`);
}

// Bring an address into view.
function reveal(start) {
  const box = $('maps');
  const y = yOf(maps.axis, start);
  if (y < box.scrollTop + 40 || y > box.scrollTop + box.clientHeight - 40) box.scrollTop = y - box.clientHeight / 2;
}

const focusBorder = (side, start) => focusKey(start, `${side}-${start}`);

function focusKey(start, key) {
  reveal(start);
  drawMaps();
  const element = $('canvas').querySelector(`[data-key="${key}"]`);
  if (element) element.focus({ preventScroll: true });
}

function choose(what, side, start) {
  maps.chosen = isChosen(what, side, start) ? null : { what, side, start };
  drawMaps();
  drawDetail();
  remember();
}

function unchoose() {
  maps.chosen = null;
  drawMaps();
  drawDetail();
  remember();
}

function scaleMaps() {
  const height = parseFloat(getComputedStyle($('maps')).maxHeight);
  layAxis(maps.axis, maps.fit ? fitted(maps.axis, height) : Math.max(comfortable(maps.axis, height) * maps.zoom, 200));
  $('zoom-fit').setAttribute('aria-pressed', maps.fit ? 'true' : 'false');
  const { unit, least } = maps.axis;
  const scale = unit >= 1 ? `1 page = ${unit >= 10 ? Math.round(unit) : unit.toFixed(1)} px` : `1 px = ${size(Math.round(1 / unit))}`;
  $('scale').textContent = scale;
  $('scale').title = `No stretch is lower than ${+least.toFixed(2)} px; one higher than ${MOST} px is cut, with a zigzag.`;
}
function zoom(factor) {
  const box = $('maps');
  const middle = (box.scrollTop + box.clientHeight / 2) / maps.axis.height;
  maps.fit = !factor && !maps.fit;
  maps.zoom = factor ? Math.min(Math.max(maps.zoom * factor, 0.2), 50) : 1;
  scaleMaps();
  drawMaps();
  box.scrollTop = middle * maps.axis.height - box.clientHeight / 2;
  drawMaps();
}

// What the colours mean: the kinds of VMAs that *attributes* have, and *whys*, classes and words of
// borders.
function drawLegend(attributes, whys) {
  const used = new Set(attributes.map(([, , , kind]) => kind));
  const mergeable = attributes.some(([, codes]) => codes.split(' ').includes('mg'));
  const item = (swatch, text) => make('li', {}, make('i', { class: `swatch ${swatch}` }), text);
  put($('legend'),
    ...KINDS.filter((kind) => used.has(kind)).map((kind) => item(`vma ${kind}`, kind === 'anon' ? 'anonymous' : kind)),
    ...(mergeable ? [item('mg', 'mergeable')] : []),
    ...whys.map(([why, words]) => item(`rule why-${why}`, words)));
}

function listenMaps() {
  $('zoom-in').addEventListener('click', () => zoom(1.5));
  $('zoom-out').addEventListener('click', () => zoom(1 / 1.5));
  $('zoom-fit').addEventListener('click', () => zoom(0));
  $('maps').addEventListener('scroll', () => requestAnimationFrame(drawMaps), { passive: true });
  $('maps').addEventListener('keydown', walkMaps);
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && maps.chosen) unchoose();
  });
}

// What depends on the width of the window is drawn again when that changes.
function onWidth(drawAgain) {
  let width = window.innerWidth;
  window.addEventListener('resize', () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    drawAgain();
  });
}
