// The whole address space in one strip: a pixel is as much memory everywhere; gaps have one width.

const GAP = 7;       // pixels between clusters, however far apart they are
const ROW = 16;
const overview = { clusters: [], unit: 1 };

function layOverview(width) {
  const { parts } = maps.axis;
  const clusters = [];
  for (const part of parts) {
    if (part.far || !clusters.length) clusters.push({ start: part.far ? part.end : part.start, end: part.far ? part.end : part.start });
    if (!part.far) clusters[clusters.length - 1].end = part.end;
  }
  const pages = clusters.reduce((sum, cluster) => sum + cluster.end - cluster.start, 0);
  const gap = Math.min(GAP, width * 0.3 / Math.max(clusters.length, 1));
  overview.unit = pages ? (width - gap * Math.max(clusters.length - 1, 0)) / pages : 1;
  let x = 0;
  for (const cluster of clusters) {
    cluster.x = x;
    cluster.width = (cluster.end - cluster.start) * overview.unit;
    x += cluster.width + gap;
  }
  overview.clusters = clusters;
}

function clusterOf(page) {
  let low = 0;
  let high = overview.clusters.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (overview.clusters[middle].start <= page) low = middle; else high = middle - 1;
  }
  return overview.clusters[low];
}
function xOf(page) {
  const cluster = clusterOf(page);
  return cluster.x + Math.min(Math.max(page - cluster.start, 0), cluster.end - cluster.start) * overview.unit;
}
function pageAtX(x) {
  let best = overview.clusters[0];
  for (const cluster of overview.clusters) if (cluster.x <= x) best = cluster;
  return best.start + Math.min(Math.max((x - best.x) / overview.unit, 0), Math.max(best.end - best.start - 1, 0));
}

// VMAs that share a pixel are one rectangle, of the kind that has most of it.
function stripes(side) {
  const found = [];
  for (const vma of maps.layouts[side] || []) {
    if (!maps.picked(vma)) continue;
    const kind = maps.attributes[vma.attributes][3];
    const from = xOf(vma.start);
    const to = from + (vma.end - vma.start) * overview.unit;
    const last = found[found.length - 1];
    if (last && Math.floor(last.from) === Math.floor(from) && to - from < 1 && last.to - last.from < 1) {
      last.to = Math.max(last.to, to);
    } else found.push({ from, to, kind });
  }
  return found;
}

function drawOverview() {
  const box = $('overview');
  const width = Math.max(box.clientWidth, 200);
  const height = 2 * ROW + 6;
  if (!maps.axis.parts.length) {
    put(box);
    put($('overview-scale'));
    return;
  }
  layOverview(width);
  const svg = draw('svg', { viewBox: `0 0 ${width} ${height}`, width, height });
  for (const side of [0, 1]) {
    for (const cluster of overview.clusters) svg.append(draw('rect', { class: 'strip-hole', x: cluster.x, y: side * (ROW + 6), width: Math.max(cluster.width, 0.5), height: ROW }));
    for (const { from, to, kind } of stripes(side)) {
      svg.append(draw('rect', { class: `strip ${kind}`, x: from.toFixed(2), y: side * (ROW + 6), width: Math.max(to - from - (to - from > 3 ? 0.5 : 0), 0.5).toFixed(2), height: ROW }));
    }
  }
  svg.append(draw('rect', { id: 'brush', y: 0.75, height: height - 1.5 }));
  put(box, svg);
  box.setAttribute('aria-label', `The whole address space to scale: ${plural(overview.clusters.length, 'cluster')}, ${maps.names.map((model, side) => `${plural((maps.layouts[side] || []).length, 'VMA')} under ${model}`).join(', ')}`);
  put($('overview-scale'), `1 px = ${size(Math.max(Math.round(1 / overview.unit), 1))} everywhere; empty stretches are cut`);
  markBrush();
}

// The brush is what the maps below show.
function markBrush() {
  const brush = $('brush');
  const { axis } = maps;
  if (!brush || !axis.parts.length) return;
  const box = $('maps');
  const low = axis.parts[partAtY(axis, box.scrollTop)];
  const high = axis.parts[partAtY(axis, box.scrollTop + box.clientHeight)];
  const from = xOf(pageAtY(axis, low, box.scrollTop));
  const to = xOf(pageAtY(axis, high, box.scrollTop + box.clientHeight));
  brush.setAttribute('x', Math.max(from - 1, 0.75));
  brush.setAttribute('width', Math.max(to - from + 2, 4));
}

const pageAtY = (axis, part, y) => part.start + Math.min(Math.max((y - part.top) / part.height, 0), 1) * part.pages;

function brushTo(event) {
  const box = $('overview').getBoundingClientRect();
  const page = pageAtX(event.clientX - box.left);
  $('maps').scrollTop = yOf(maps.axis, page) - $('maps').clientHeight / 2;
  drawMaps();
}

function listenOverview() {
  const box = $('overview');
  box.addEventListener('pointerdown', (event) => {
    if (!maps.axis.parts.length) return;
    box.setPointerCapture(event.pointerId);
    brushTo(event);
  });
  box.addEventListener('pointermove', (event) => { if (box.hasPointerCapture(event.pointerId)) brushTo(event); });
}
