// Why: what lies at a border, and what a VMA is.

const WHY = {
  ksm: 'VM_MERGEABLE alone',
  alike: 'alike now',
  flags: 'flags differ',
  file: 'files or offsets differ',
  anon: 'anon_vma differs',
  other: 'names, policies or others',
};

function chosenPair() {
  if (!maps.chosen) return null;
  const layout = maps.layouts[maps.chosen.side] || [];
  const index = layout.findIndex((vma) => vma.start === maps.chosen.start);
  if (index < 0 || (maps.chosen.what === 'border' && layout[index].border < 0)) return null;
  return { above: layout[index - 1], vma: layout[index] };
}

function drawDetail() {
  const pair = chosenPair();
  $('detail').classList.toggle('open', pair !== null);
  if (!pair) {
    put($('detail'), make('h3', {}, 'Why are they two?'),
      make('p', { class: 'empty' }, 'Choose a border, the line between two VMAs that touch: here is said what keeps them apart, and which call tried to join them.'),
      make('p', { class: 'empty' }, 'Choose a VMA to see its flags.'), firstToBlame());
    return;
  }
  const close = make('button', { type: 'button', class: 'link close', on: { click: unchoose } }, 'close');
  put($('detail'), close, ...(maps.chosen.what === 'vma' ? vmaDetail(pair.vma) : borderDetail(pair.above, pair.vma)));
}

// A way to the first border that the series would not have left; null where there is none.
function firstToBlame() {
  const [layout] = maps.layouts;
  const found = (layout || []).find((vma) => vma.border >= 0 && DATA.borders[vma.border][3]);
  if (!found) return null;
  const go = () => { choose('border', 0, found.start); focusBorder(0, found.start); };
  return make('p', {}, make('button', { type: 'button', class: 'link', on: { click: go } }, 'The first one that VM_MERGEABLE keeps apart'));
}

function vmaDetail(vma) {
  const [perms, codes, name, kind] = DATA.attributes[vma.attributes];
  const rows = [
    ['range', range(vma.start, vma.end)], ['size', size(vma.end - vma.start)], ['perms', perms],
    ['flags', codes], ['backing', name || 'anonymous'],
  ];
  if (kind === 'file') rows.push(['offset', '0x' + (vma.offset * PAGE).toString(16)]);
  return [
    make('h3', {}, 'VMA'),
    make('p', { class: 'where' }, `under ${DATA.models[maps.chosen.side]}`),
    make('table', { class: 'pair' }, ...rows.map(([head, text]) => make('tr', {}, head ? make('th', { scope: 'row' }, head) : make('td', {}), make('td', {}, text)))),
  ];
}

function borderDetail(above, below) {
  const [why, now, met, mended] = DATA.borders[below.border];
  const { call } = below;
  const model = DATA.models[maps.chosen.side];
  const nodes = [
    make('h3', {}, `Border at ${hex(below.start)}`),
    make('p', { class: 'where' }, `under ${model}`),
    make('p', { class: `tag why-${why}` }, WHY[why]),
    make('h4', {}, 'Now'),
    make('p', {}, now ? sentence(now) : 'Nothing keeps them apart any more: they would be one VMA if a call tried to merge them. The kernel merges only when a call gives it the occasion.'),
    pairTable(above, below),
  ];
  if (call >= 0) {
    const [line, text] = DATA.calls[call];
    nodes.push(make('h4', {}, `When they met, in line ${count(line)}`));
    if (text) nodes.push(make('blockquote', {}, text));
    nodes.push(make('p', {}, sentence(met)));
  } else if (now) {
    nodes.push(make('h4', {}, 'When they met'), make('p', {}, 'No call tried to merge them: one VMA was split here, or both were there from the start.'));
  }
  if (mended) {
    const [commit, subject, release, url] = DATA.commit;
    nodes.push(make('div', { class: 'mend' },
      make('p', {}, 'This is the bug that the series fixes: the kernel set VM_MERGEABLE after it had tried to merge.'),
      make('p', {}, `Linux ${release}: `, commitLink(commit, subject, url))));
  }
  return nodes;
}

function pairTable(above, below) {
  const sides = [above, below].map((vma) => DATA.attributes[vma.attributes]);
  const flags = sides.map((side) => side[1].split(' '));
  const row = (head, ...cells) => make('tr', {}, head ? make('th', { scope: 'row' }, head) : make('td', {}), ...cells.map((cell) => make('td', {}, ...[cell].flat())));
  const marked = (mine, others) => mine.flatMap((code, i) => [i ? ' ' : '', others.includes(code) ? code : make('mark', {}, code)]);
  const differ = (index) => sides.map((side, i) => (sides[0][index] === sides[1][index] ? side[index] || 'anonymous' : make('mark', {}, sides[i][index] || 'anonymous')));
  const rows = [
    row('', 'above', 'below'),
    row('size', size(above.end - above.start), size(below.end - below.start)),
    row('perms', ...differ(0)),
    row('flags', marked(flags[0], flags[1]), marked(flags[1], flags[0])),
    row('backing', ...differ(2)),
  ];
  if (sides.some((side) => side[3] === 'file')) rows.push(row('offset', ...[above, below].map((vma) => '0x' + (vma.offset * PAGE).toString(16))));
  return make('table', { class: 'pair' }, ...rows);
}

