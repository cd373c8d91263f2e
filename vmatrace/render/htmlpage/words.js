// Words: numbers, sizes and addresses, which are in pages of PAGE bytes.

const hex = (page) => {
  const text = (BigInt(page) * BigInt(PAGE)).toString(16);
  return text.padStart(8, '0');
};
const range = (start, end) => `${hex(start)}-${hex(end)}`;
const thousands = new Intl.NumberFormat('en-US');
const count = (number) => thousands.format(number).replace(/,/g, '\u2009');
const plural = (number, word, many) => `${count(number)} ${number === 1 ? word : many || `${word}s`}`;
function size(pages) {
  const bytes = pages * PAGE;
  for (const [unit, letter] of [[2 ** 40, 'T'], [2 ** 30, 'G'], [2 ** 20, 'M'], [1024, 'K']]) {
    if (bytes >= unit && bytes % unit === 0 && bytes / unit < 10000) return bytes / unit + letter;
  }
  for (const [unit, letter] of [[2 ** 40, 'T'], [2 ** 30, 'G'], [2 ** 20, 'M'], [1024, 'K']]) {
    if (bytes >= unit) return (bytes / unit).toFixed(1) + letter;
  }
  return bytes + 'B';
}
const signed = (number) => (number > 0 ? '+' : number < 0 ? '\u2212' : '\u00b1') + count(Math.abs(number));
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.)]$/.test(text) ? '' : '.');
