// The plot of VMAs over time: both models, a readout under the pointer, the slider's place.

const chart = { process: 0, frame: 0, hover: null };
const HEIGHT = 250;
const MARGIN = { left: 52, right: 14, top: 14, bottom: 26 };

function ticks(highest, most) {
  let step = 1;
  for (let i = 0; step * most < highest; i++) step *= i % 3 === 1 ? 2.5 : 2;
  return { step, top: Math.max(step * Math.ceil(highest / step), step) };
}

function scales() {
  const { curve, counts } = DATA.processes[chart.process];
  const highest = Math.max(counts[0].peak, counts[1].peak, 1);
  const near = highest * 2 >= DATA.limit;
  const y = ticks(near ? Math.max(highest, DATA.limit) : highest, 5);
  const first = curve[0][0];
  const last = Math.max(DATA.events, first + 1);
  const width = Math.max($('chart').clientWidth - 24, 200);
  const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  return {
    width, first, last, near, top: y.top, step: y.step, inner,
    x: (at) => MARGIN.left + (at - first) / (last - first) * inner.width,
    y: (value) => MARGIN.top + inner.height * (1 - value / y.top),
    at: (x) => Math.round(first + (x - MARGIN.left) / inner.width * (last - first)),
  };
}

// A curve as steps: each value holds until the next event.
function steps(scale, side) {
  const { curve, exited } = DATA.processes[chart.process];
  const [low, high, last] = side ? [4, 5, 6] : [1, 2, 3];
  let text = '';
  for (const point of curve) {
    const x = scale.x(point[0]).toFixed(1);
    text += text ? `H${x}` : `M${x} ${scale.y(point[last]).toFixed(1)}`;
    if (point[low] !== point[high]) text += `V${scale.y(point[high]).toFixed(1)}V${scale.y(point[low]).toFixed(1)}`;
    text += `V${scale.y(point[last]).toFixed(1)}`;
  }
  return exited ? text : text + `H${scale.x(scale.last).toFixed(1)}`;
}

function drawChart() {
  const scale = scales();
  const { counts } = DATA.processes[chart.process];
  const svg = draw('svg', {
    viewBox: `0 0 ${scale.width} ${HEIGHT}`, height: HEIGHT, role: 'img',
    'aria-label': `VMAs over ${plural(DATA.events, 'event')}: ${DATA.models[0]} peaks at ${counts[0].peak}, ${DATA.models[1]} at ${counts[1].peak}`,
  });
  for (let value = 0; value <= scale.top; value += scale.step) {
    const y = scale.y(value);
    svg.append(
      draw('line', { class: 'grid', x1: MARGIN.left, x2: scale.width - MARGIN.right, y1: y, y2: y }),
      draw('text', { class: 'tick', x: MARGIN.left - 8, y: y + 4, 'text-anchor': 'end' }, count(value)),
    );
  }
  const wide = ticks(scale.last - scale.first, scale.width > 600 ? 8 : 3);
  for (let at = Math.ceil(scale.first / wide.step) * wide.step; at <= scale.last; at += wide.step) {
    const anchor = scale.x(at) > scale.width - 40 ? 'end' : 'middle';
    svg.append(draw('text', { class: 'tick', x: scale.x(at), y: HEIGHT - 6, 'text-anchor': anchor }, count(at)));
  }
  const paths = [steps(scale, 0), steps(scale, 1)];
  const floor = `V${scale.y(0)}H${scale.x(scale.first)}Z`;
  svg.append(
    draw('path', { class: 'between', d: paths[0] + floor }),
    draw('path', { class: 'under', d: paths[1] + floor }),
    draw('path', { class: 'line line-0', d: paths[0] }),
    draw('path', { class: 'line line-1', d: paths[1] }),
  );
  if (scale.near) {
    const y = scale.y(DATA.limit);
    svg.append(
      draw('line', { class: 'limit', x1: MARGIN.left, x2: scale.width - MARGIN.right, y1: y, y2: y }),
      draw('text', { class: 'tick', x: MARGIN.left + 6, y: y - 5 }, `max_map_count ${count(DATA.limit)}`),
    );
  }
  counts.forEach((side, i) => {
    if (side.limit_at) svg.append(draw('circle', { class: `hit hit-${i}`, r: 5, cx: scale.x(side.limit_at[0]), cy: scale.y(Math.min(DATA.limit, scale.top)) }));
  });
  svg.append(draw('g', { id: 'marks' }));
  svg.addEventListener('pointermove', (event) => hoverAt(event, scale));
  svg.addEventListener('pointerleave', () => { chart.hover = null; markChart(); });
  svg.addEventListener('pointerdown', (event) => {
    hoverAt(event, scale);
    show(nearestFrame(chart.hover));
  });
  put($('chart'), svg);
  chart.scale = scale;
  markChart();
}

function hoverAt(event, scale) {
  const box = event.currentTarget.getBoundingClientRect();
  const at = scale.at((event.clientX - box.left) * scale.width / box.width);
  chart.hover = Math.min(Math.max(at, scale.first), scale.last);
  markChart();
}

// Both numbers after event *at*; null where the process did not live.
function valuesAt(at) {
  const { curve } = DATA.processes[chart.process];
  if (at < curve[0][0]) return null;
  let low = 0;
  let high = curve.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (curve[middle][0] <= at) low = middle; else high = middle - 1;
  }
  return [curve[low][3], curve[low][6]];
}

function markChart() {
  const { scale } = chart;
  const marks = $('marks');
  if (!marks) return;
  marks.replaceChildren();
  const here = FRAMES[chart.frame].number;
  for (const [at, name] of [[here, 'cursor'], [chart.hover, 'hover']]) {
    if (at === null || at < scale.first) continue;
    const x = scale.x(at);
    marks.append(draw('line', { class: name, x1: x, x2: x, y1: MARGIN.top - 6, y2: HEIGHT - MARGIN.bottom }));
  }
  const at = chart.hover === null ? here : chart.hover;
  const values = at === here ? [0, 1].map((side) => (layoutAt(chart.process, side, chart.frame) || []).length) : valuesAt(at);
  if (values && at >= scale.first) {
    values.forEach((value, side) => marks.append(
      draw('circle', { class: `point point-${side}`, r: 4.5, cx: scale.x(at), cy: scale.y(value) })));
  }
  put($('readout'),
    make('span', {}, 'event ', make('b', {}, count(at))),
    ...DATA.models.map((model, side) => make('span', {}, make('i', { class: `dot dot-${side}` }), `${model} `,
      make('b', {}, values ? count(values[side]) : '\u2013'))),
    make('span', {}, 'difference ', make('b', {}, values ? count(values[0] - values[1]) : '\u2013')));
}

