// Elements of the page.

const $ = (id) => document.getElementById(id);
// Text only: nothing from the trace is ever parsed as markup.
function make(tag, options, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options || {})) {
    if (name === 'class') element.className = value;
    else if (name === 'on') for (const [type, call] of Object.entries(value)) element.addEventListener(type, call);
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
function draw(tag, options, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(options || {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
const put = (element, ...children) => element.replaceChildren(...children.filter((child) => child !== null));
const dot = (side) => make('i', { class: `dot dot-${side}` });
// The way from a cause to its commit: its number, its title, and where it can be read.
const commitLink = (commit, subject, url) => make('a', { href: url, rel: 'noreferrer' }, make('code', {}, `${commit} ("${subject}")`));
