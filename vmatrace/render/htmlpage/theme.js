// Light and dark: what the system says, until the button does.

function listenTheme(then) {
  $('theme').addEventListener('click', () => {
    const dark = getComputedStyle(document.documentElement).colorScheme === 'dark'
      || (!document.documentElement.dataset.theme && matchMedia('(prefers-color-scheme: dark)').matches);
    document.documentElement.dataset.theme = dark ? 'light' : 'dark';
    then();
  });
}

// The fragment of the URL holds what its sender saw: some parts, and the colours.
function keepInAddress(parts) {
  const { theme } = document.documentElement.dataset;
  if (theme) parts.theme = theme;
  history.replaceState(null, '', `#${new URLSearchParams(parts)}`);
}

function askedInAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const theme = asked.get('theme');
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;
  return asked;
}
