// A page that is whole without it: tables that sort, and the colours.

document.querySelectorAll('table[aria-label]').forEach(sortable);
listenTheme(() => {});
document.documentElement.dataset.drawn = '';
