// All that moves: the overview by its stream, a page that is looked at anew, "all on this page", and a form that was sent.
'use strict';

// What the server rendered anew is swapped in part by part, so that a focus or a selection elsewhere stays where it is.
const swap = html => {
  const fresh = new DOMParser().parseFromString(html, 'text/html');
  const known = new Map([...document.querySelectorAll('[data-live]')].map(part => [part.dataset.live, part]));
  const parts = [...fresh.querySelectorAll('[data-live]')];
  // Other parts than before, such as the first lanes that are seen at all: everything is new.
  if (parts.length !== known.size || parts.some(part => !known.has(part.dataset.live))) {
    document.getElementById('live').replaceChildren(...fresh.body.childNodes);
    return;
  }
  for (const part of parts) {
    const old = known.get(part.dataset.live);
    if (old.outerHTML !== part.outerHTML && !old.contains(document.activeElement)) old.replaceWith(part);
  }
};

const pulse = document.getElementById('pulse');
if (pulse) {
  const say = (state, text) => {
    if (pulse.textContent === text) return;
    pulse.className = `pulse ${state}`;
    pulse.textContent = text;
  };
  const stream = new EventSource('/live');
  let silence;
  const lost = () => say('lost', 'not connected: trying again …');
  stream.addEventListener('overview', event => {
    swap(event.data);
    say('live', 'live');
    clearTimeout(silence);
    silence = setTimeout(lost, 8000);
  });
  // A stream ends each minute and is opened again at once: that is not worth a word.
  stream.onerror = () => { clearTimeout(silence); silence = setTimeout(lost, 4000); };
}

// What is being looked at again is there in a second or two.
if (document.querySelector('[data-again]')) setTimeout(() => location.reload(), 1500);

for (const all of document.querySelectorAll('[data-all]')) {
  all.addEventListener('change', () => {
    for (const box of all.form.querySelectorAll(`[name="${all.dataset.all}"]`)) box.checked = all.checked;
  });
}

document.addEventListener('submit', event => {
  const button = event.submitter;
  if (!button) return;
  if (button.hasAttribute('aria-busy')) { event.preventDefault(); return; }
  button.setAttribute('aria-busy', 'true');
});
// A page that is shown again from the browser's memory was not sent.
addEventListener('pageshow', () => document.querySelectorAll('[aria-busy]').forEach(busy => busy.removeAttribute('aria-busy')));
