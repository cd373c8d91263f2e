// Frames, and layouts at any frame. Addresses are in pages.

const PAGE = DATA.page_size;

const FRAMES = DATA.frames.map(([number, line, process, call, results]) =>
  ({ number, line, process, call, results }));

// TIMES[process][side]: what changed when.
const TIMES = DATA.processes.map(() => [[], []]);
DATA.frames.forEach((frame, index) => {
  for (const [process, side, gone, come] of frame[5]) {
    const starts = [];
    let at = 0;
    for (const distance of gone) starts.push(at += distance);
    const vmas = [];
    at = 0;
    for (let i = 0; i < come.length; i += 6) {
      at += come[i];
      vmas.push({
        start: at, end: at + come[i + 1], attributes: come[i + 2], offset: come[i + 3],
        border: come[i + 4], call: come[i + 5],
      });
    }
    TIMES[process][side].push({ index, gone: starts, come: vmas });
  }
});

function applied(layout, change) {
  const dead = new Set(change.gone);
  for (const vma of change.come) dead.add(vma.start);
  const merged = layout.filter((vma) => !dead.has(vma.start)).concat(change.come);
  return merged.sort((a, b) => a.start - b.start);
}

// Layouts are rebuilt from the nearest one that is kept: every 32nd, and the last few looked at.
const KEPT = DATA.processes.map(() => [new Map(), new Map()]);
const RECENT = DATA.processes.map(() => [new Map(), new Map()]);
function layoutAt(process, side, frame) {
  const times = TIMES[process][side];
  let count = 0;
  let high = times.length;
  while (count < high) {
    const middle = (count + high) >> 1;
    if (times[middle].index <= frame) count = middle + 1; else high = middle;
  }
  if (!count) return null; // not born yet
  const kept = KEPT[process][side];
  const recent = RECENT[process][side];
  let from = count;
  while (from && !kept.has(from) && !recent.has(from)) from--;
  let layout = recent.get(from) || kept.get(from) || [];
  for (let i = from; i < count; i++) {
    layout = applied(layout, times[i]);
    if ((i & 31) === 0) kept.set(i + 1, layout);
  }
  recent.delete(count);
  recent.set(count, layout);
  if (recent.size > 4) recent.delete(recent.keys().next().value);
  return layout;
}

// The starts of the VMAs that this very frame brought. One whose border alone changed is not new.
function changedAt(process, side, frame) {
  const found = TIMES[process][side].find((change) => change.index === frame);
  if (!found) return [];
  const before = new Map((layoutAt(process, side, frame - 1) || []).map((vma) => [vma.start, vma]));
  const same = (a, b) => b !== undefined && a.end === b.end && a.attributes === b.attributes;
  return found.come.filter((vma) => !same(vma, before.get(vma.start))).map((vma) => vma.start);
}

// Frames at which the difference between the models grew, of each process: made when first asked.
const COSTS = DATA.processes.map(() => null);
function costsOf(process) {
  if (COSTS[process]) return COSTS[process];
  const alive = [new Set(), new Set()];
  const found = [];
  const next = [0, 0];
  let last = 0;
  for (let frame = 0; frame < FRAMES.length; frame++) {
    for (const side of [0, 1]) {
      const change = TIMES[process][side][next[side]];
      if (!change || change.index !== frame) continue;
      next[side] += 1;
      for (const start of change.gone) alive[side].delete(start);
      for (const vma of change.come) alive[side].add(vma.start);
    }
    const difference = alive[0].size - alive[1].size;
    if (frame && difference > last) found.push(frame);
    last = difference;
  }
  COSTS[process] = found;
  return found;
}

// Whether a process has exited by the event of a frame.
const gone = (process, frame) => {
  const at = DATA.processes[process].exit_at;
  return at !== null && FRAMES[frame].number >= at[0];
};

function nearestFrame(number) {
  let low = 0;
  let high = FRAMES.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (FRAMES[middle].number <= number) low = middle; else high = middle - 1;
  }
  const next = FRAMES[low + 1];
  return next && next.number - number < number - FRAMES[low].number ? low + 1 : low;
}
