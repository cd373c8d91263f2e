// An address or a name leads to its VMA.

// What is asked for: an address as any table shows it, a range, or a part of a name.
function goTo(text) {
  const wanted = text.trim();
  const said = $('goto-said');
  if (!wanted) return put(said);
  const hexadecimal = /^(?:0x)?([0-9a-f]{4,16})(?:-(?:0x)?[0-9a-f]+)?$/i.exec(wanted);
  const found = hexadecimal ? atAddress(BigInt(`0x${hexadecimal[1]}`)) : byName(wanted.toLowerCase());
  if (!found) return put(said, hexadecimal ? `Nothing is mapped at ${hexadecimal[1]} ${maps.when}.` : `No VMA is called ${wanted} ${maps.when}.`);
  put(said);
  maps.chosen = { what: 'vma', side: found.side, start: found.start };
  reveal(found.start);
  drawMaps();
  drawDetail();
  return remember();
}

const sidesFirst = () => (maps.chosen && maps.chosen.side === 1 ? [1, 0] : [0, 1]);

function atAddress(address) {
  const page = Number(address / BigInt(PAGE));
  for (const side of sidesFirst()) {
    const layout = maps.layouts[side] || [];
    const vma = layout[firstBelow(layout, page)];
    if (vma && vma.start <= page) return { side, start: vma.start };
  }
  return null;
}

// The next one after what is chosen, round the end.
function byName(part) {
  for (const side of sidesFirst()) {
    const matching = (maps.layouts[side] || []).filter((vma) => (maps.attributes[vma.attributes][2] || 'anonymous').toLowerCase().includes(part));
    if (!matching.length) continue;
    const here = maps.chosen && maps.chosen.side === side ? maps.chosen.start : -1;
    return { side, start: (matching.find((vma) => vma.start > here) || matching[0]).start };
  }
  return null;
}

function listenGoTo() {
  $('goto').addEventListener('keydown', (event) => { if (event.key === 'Enter') goTo($('goto').value); });
  $('goto').addEventListener('search', () => { if (!$('goto').value) put($('goto-said')); });
}
