// What fills the map: VMAs of one kind together, and what is picked of them.

const SHOWN = 8;
let picked = null; // key of a group

// The key of its group for each set of attributes.
let keys = null;
function groupOf(vma) {
  keys ||= DATA.attributes.map(([perms, codes, , , name]) => {
    const ksm = codes.split(' ').includes('mg') ? ' mg' : '';
    return `${perms}${ksm}\n${name || 'anonymous'}`;
  });
  return keys[vma.attributes];
}
maps.picked = (vma) => picked === null || groupOf(vma) === picked;

function groupsNow() {
  const groups = new Map();
  maps.layouts.forEach((layout, side) => {
    for (const vma of layout || []) {
      const key = groupOf(vma);
      const group = groups.get(key) || { key, counts: [0, 0], sizes: new Map() };
      group.counts[side] += 1;
      const pages = vma.end - vma.start;
      group.sizes.set(pages, (group.sizes.get(pages) || 0) + 1);
      groups.set(key, group);
    }
  });
  return [...groups.values()].sort((a, b) => Math.max(...b.counts) - Math.max(...a.counts));
}

// The size that most of a group have.
function usual(group) {
  const [pages, times] = [...group.sizes].reduce((best, each) => (each[1] > best[1] ? each : best));
  return times * 2 > group.counts[0] + group.counts[1] ? `${group.sizes.size > 1 ? 'mostly ' : ''}${size(pages)}` : `many sizes`;
}

function drawFills() {
  const groups = groupsNow();
  const total = [0, 1].map((side) => (maps.layouts[side] || []).length);
  put($('fills-at'), make('span', {}, 'after event ', make('b', {}, count(FRAMES[current].number))),
    ...DATA.models.map((model, side) => make('span', {}, dot(side), `${model} `, make('b', {}, count(total[side])), ` of ${count(DATA.limit)}`)));
  if (!groups.length) {
    put($('fills'), make('p', { class: 'nothing' }, 'Nothing is mapped.'));
    return;
  }
  const kept = groups.slice(0, SHOWN);
  if (picked !== null && !kept.some((group) => group.key === picked)) {
    const found = groups.find((group) => group.key === picked);
    if (found) kept.push(found);
  }
  const most = Math.max(...groups[0].counts, 1);
  const rows = kept.map((group) => {
    const [perms, name] = group.key.split('\n');
    const each = usual(group);
    const bars = [0, 1].map((side) => make('span', { class: 'fill-bar' },
      draw('svg', { viewBox: '0 0 100 6', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        draw('rect', { class: `bar-${side}`, width: group.counts[side] / most * 100, height: 6 })),
      make('b', {}, count(group.counts[side]))));
    return make('li', {}, make('button', {
      type: 'button', class: 'fill', 'aria-pressed': picked === group.key ? 'true' : 'false', title: name,
      'aria-label': `${name}, ${perms}, ${each}: ${DATA.models.map((model, side) => `${count(group.counts[side])} under ${model}`).join(', ')}`,
      on: { click: () => pick(group.key) },
    }, make('span', { class: 'fill-name' }, make('code', {}, perms), ' ', shortName(name)), make('span', { class: 'fill-size' }, each), ...bars));
  });
  const rest = groups.length - kept.length;
  put($('fills'), make('ol', { class: 'fill-list' }, ...rows),
    rest > 0 ? make('p', { class: 'after' }, `And ${plural(rest, 'smaller group')}. `) : null,
    picked === null ? null : make('p', { class: 'after' }, 'The maps below show this group alone. ', make('button', { type: 'button', class: 'link', on: { click: () => pick(picked) } }, 'Show all')));
}

function pick(key) {
  picked = picked === key ? null : key;
  if (picked !== null) {
    const side = [0, 1].find((which) => (maps.layouts[which] || []).some(maps.picked));
    if (side !== undefined) reveal(maps.layouts[side].find(maps.picked).start);
  }
  drawFills();
  drawMaps();
  drawOverview();
}
