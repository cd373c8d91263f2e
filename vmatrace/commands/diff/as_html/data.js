// Both layouts of each process, unpacked, and the blocks in which they differ. Addresses are in pages.

let PAGE = 4096; // of the trace that is shown
const BOTH = 2;

// All VMAs by start, each with the side that has it.
function unpackedVmas(packed) {
  const vmas = [];
  let at = 0;
  for (let i = 0; i < packed.length; i += 5) {
    at += packed[i];
    vmas.push({ start: at, end: at + packed[i + 1], attributes: packed[i + 2], offset: packed[i + 3], side: packed[i + 4], border: -1 });
  }
  return vmas;
}

// The smallest ranges whose borders no VMA crosses, of what only one side has.
function blocksOf(vmas, process, causes) {
  const blocks = [];
  for (const vma of vmas) {
    if (vma.side === BOTH) continue;
    let block = blocks[blocks.length - 1];
    if (!block || block.end <= vma.start) {
      const index = blocks.length;
      block = { index, start: vma.start, end: vma.end, sides: [[], []], causes: process.causes ? process.causes[index] : causes, touched: process.touched[index] };
      blocks.push(block);
    }
    block.end = Math.max(block.end, vma.end);
    block.sides[vma.side].push(vma);
  }
  return blocks;
}

const OPENED = new Map();
function opened(trace, index) {
  const process = trace.processes[index];
  if (!OPENED.has(process)) {
    const vmas = unpackedVmas(process.mappings);
    OPENED.set(process, {
      blocks: blocksOf(vmas, process, trace.causes || []),
      equal: vmas.filter((vma) => vma.side === BOTH).map((vma) => vma.start),
      whole: [0, 1].map((side) => (process.vmas[side] === null ? null : vmas.filter((vma) => vma.side === BOTH || vma.side === side))),
      apart: [0, 1].map((side) => (process.vmas[side] === null ? null : vmas.filter((vma) => vma.side === side))),
    });
  }
  return OPENED.get(process);
}

// How many of the sorted *starts* are in [low, high).
function among(starts, low, high) {
  const below = (page) => {
    let from = 0;
    let to = starts.length;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (starts[middle] < page) from = middle + 1; else to = middle;
    }
    return from;
  };
  return below(high) - below(low);
}

// What a block is a difference of.
function whatDiffers(block, sides) {
  const [a, b] = block.sides;
  if (!a.length || !b.length) return `only under ${sides[a.length ? 0 : 1]}`;
  if (a.length !== b.length) return a.length > b.length ? (b.length === 1 ? 'merged' : 'fewer VMAs') : a.length === 1 ? 'split' : 'more VMAs';
  const found = new Set();
  a.forEach((vma, i) => {
    const other = b[i];
    if (vma.start !== other.start || vma.end !== other.end) found.add('borders');
    const [mine, theirs] = [vma, other].map((each) => maps.attributes[each.attributes]);
    if (mine[0] !== theirs[0]) found.add('permissions');
    else if (mine[1] !== theirs[1]) found.add('flags');
    if (mine[2] !== theirs[2]) found.add('name');
    if (vma.offset !== other.offset) found.add('offset');
  });
  return [...found].join(', ') || 'flags';
}
