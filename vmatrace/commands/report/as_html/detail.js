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
    pairTable(above, below, ['above', 'below']),
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
