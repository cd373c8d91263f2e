// Causes, differences and events as lists; long ones grow when asked to.

const FIRST = 100;
const featureOf = (index) => DATA.features[index];

// A feature with the way to its commit.
function because(causes) {
  return causes.flatMap((index, i) => {
    const [name, , , commit, subject, , url] = featureOf(index);
    return [i ? ', ' : '', name, ...(commit ? [' ', make('a', { href: url, rel: 'noreferrer', title: subject }, make('code', {}, commit))] : [])];
  });
}

function drawCauses(trace) {
  $('why').hidden = trace.causes === null || trace.equal;
  if ($('why').hidden) return;
  if (!trace.causes.length) {
    put($('causes'), make('p', { class: 'nothing' }, 'No feature of the models explains it.'));
    return;
  }
  put($('causes'), ...trace.causes.map((index) => {
    const [name, summary, added, commit, subject, release, url, note] = featureOf(index);
    const where = `${added ? '' : 'no longer there under '}${added ? '' : trace.sides[1]}`;
    return make('div', { class: 'cause' },
      make('h3', {}, name, where ? make('small', {}, where) : null),
      make('p', {}, sentence(summary)),
      make('p', {}, ...(commit ? [release ? `Linux ${release}: ` : '', commitLink(commit, subject, url)] : [note ? sentence(note) : ''])));
  }));
}

// A list of which the first are there, and more at a click.
function growing(items, draw, wrap, box) {
  let shown = 0;
  const list = wrap();
  const body = list.querySelector('tbody') || list;
  const more = make('button', { type: 'button', class: 'link', on: { click: () => grow() } });
  const after = make('p', { class: 'after' }, more);
  function grow(upTo = shown + FIRST) {
    const end = Math.min(Math.max(upTo, FIRST), items.length);
    if (end > shown) body.append(...items.slice(shown, end).map(draw));
    shown = Math.max(end, shown);
    after.hidden = shown >= items.length;
    more.textContent = `${plural(items.length - shown, 'more')}`.replace(/s$/, '') + ', show the next';
  }
  grow();
  put(box, list, after);
  return grow;
}

function drawBlocks(trace, blocks) {
  $('blocks-section').hidden = !blocks.length;
  if (!blocks.length) return;
  const heads = [['where', 'text'], ['size', 'wide-only'], [trace.sides[0], ''], [trace.sides[1], ''], ['what', 'text what'], ['because of', 'text wide-only'], ['first in line', 'wide-only']];
  const row = (block) => {
    const event = block.touched === undefined || block.touched < 0 ? null : trace.shown[block.touched];
    return make('tr', {},
      make('th', { scope: 'row', class: 'text' }, make('button', { type: 'button', class: 'link', on: { click: () => showBlock(block) } }, make('code', {}, range(block.start, block.end)))),
      make('td', { class: 'wide-only', 'data-value': block.end - block.start }, size(block.end - block.start)),
      ...block.sides.map((vmas) => make('td', {}, count(vmas.length))),
      make('td', { class: 'text what' }, whatDiffers(block, trace.sides)),
      make('td', { class: 'text wide-only because' }, ...because(block.causes)),
      make('td', { class: 'wide-only' }, event ? make('button', { type: 'button', class: 'link', on: { click: () => showEvent(block.touched) } }, count(event[0])) : ''));
  };
  const table = () => make('div', { class: 'scroll' }, make('table', { class: 'list' },
    make('thead', {}, make('tr', {}, ...heads.map(([head, name]) => make('th', { scope: 'col', class: name }, head)))), make('tbody', {})));
  growing(blocks, row, table, $('blocks'));
  if (blocks.length <= FIRST) sortable($('blocks').querySelector('table'));
}

let growEvents = () => {};
function drawEvents(trace) {
  $('events-section').hidden = trace.equal || trace.events === null;
  if ($('events-section').hidden) return;
  if (!trace.shown.length) {
    put($('events'), make('p', { class: 'nothing' }, `No event differs of ${count(trace.events)}: the sides differ from the start.`));
    return;
  }
  const item = ([line, call, said, causes], index) => make('li', {}, make('details', { 'data-event': index },
    make('summary', {}, make('span', { class: 'line-of' }, `line ${count(line)}`), make('code', {}, call)),
    make('pre', { class: 'said' }, said),
    causes.length ? make('p', { class: 'because' }, 'because of ', ...because(causes)) : null));
  let next = 0;
  growEvents = growing(trace.shown, (event) => item(event, next++), () => make('ol', { class: 'events' }), $('events'));
  const rest = trace.differing - trace.shown.length;
  $('events').append(make('p', { class: 'after' }, `${count(trace.differing)} of ${plural(trace.events, 'event')} ${trace.differing === 1 ? 'differs' : 'differ'}.${rest > 0 ? ` The first ${count(trace.shown.length)} are here; --steps writes all.` : ''}`));
  $('events').querySelector('details').open = true;
}

function showEvent(index) {
  growEvents(index + 1);
  const found = $('events').querySelector(`[data-event="${index}"]`);
  found.open = true;
  found.querySelector('summary').focus();
  found.scrollIntoView({ block: 'center' });
}
