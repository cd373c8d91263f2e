// The data of the page.

const HELD = document.getElementById('data');
// Much data is compressed: zlib, in base64.
async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'))).text();
}
if (HELD.type !== 'application/json' && typeof DecompressionStream === 'undefined') {
  document.getElementById('description').textContent = 'This browser is too old to unpack the data: it has no DecompressionStream.';
  return;
}
const DATA = JSON.parse(HELD.type === 'application/json' ? HELD.textContent : await unpacked(HELD.textContent));
