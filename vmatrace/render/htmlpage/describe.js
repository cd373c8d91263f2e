// A VMA in words, and two beside each other with what differs marked.

function vmaDetail(vma) {
  const [perms, codes, name, kind] = maps.attributes[vma.attributes];
  const rows = [
    ['range', range(vma.start, vma.end)], ['size', size(vma.end - vma.start)], ['perms', perms],
    ['flags', codes], ['backing', name || 'anonymous'],
  ];
  if (kind === 'file') rows.push(['offset', '0x' + (vma.offset * PAGE).toString(16)]);
  return [
    make('h3', {}, 'VMA'),
    make('p', { class: 'where' }, `under ${maps.names[maps.chosen.side]}`),
    make('table', { class: 'pair' }, ...rows.map(([head, text]) => make('tr', {}, make('th', { scope: 'row' }, head), make('td', {}, text)))),
  ];
}

function pairTable(first, second, heads) {
  const vmas = [first, second];
  const sides = vmas.map((vma) => maps.attributes[vma.attributes]);
  const flags = sides.map((side) => side[1].split(' '));
  const row = (head, ...cells) => make('tr', {}, head ? make('th', { scope: 'row' }, head) : make('td', {}), ...cells.map((cell) => make('td', {}, ...[cell].flat())));
  const marked = (mine, others) => mine.flatMap((code, i) => [i ? ' ' : '', others.includes(code) ? code : make('mark', {}, code)]);
  const differ = (index) => sides.map((side, i) => (sides[0][index] === sides[1][index] ? side[index] || 'anonymous' : make('mark', {}, sides[i][index] || 'anonymous')));
  const rows = [
    row('', ...heads),
    row('size', ...vmas.map((vma) => size(vma.end - vma.start))),
    row('perms', ...differ(0)),
    row('flags', marked(flags[0], flags[1]), marked(flags[1], flags[0])),
    row('backing', ...differ(2)),
  ];
  if (sides.some((side) => side[3] === 'file')) rows.push(row('offset', ...vmas.map((vma) => '0x' + (vma.offset * PAGE).toString(16))));
  return make('table', { class: 'pair' }, ...rows);
}
