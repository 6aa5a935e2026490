// Keeps a page up to date: when the service says that something may have changed, the page is loaded anew and its content
// exchanged. Nothing is loaded while the tab is hidden, or while somebody is filling in a form.
const url = document.querySelector('script[data-live]')?.dataset.live
let events

function open() {
  events ??= new EventSource(url)
  events.onmessage = load
}

function close() {
  events?.close()
  events = undefined
}

async function load() {
  const main = document.querySelector('main')
  if (isBusy(main)) return
  const answer = await fetch(location.href, { headers: { accept: 'text/html' } }).catch(() => undefined)
  document.body.classList.toggle('stale', !answer?.ok)
  if (!answer?.ok) return
  const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html').querySelector('main')
  if (!fresh || isBusy(main)) return
  for (const details of main.querySelectorAll('details[id][open]'))
    fresh.querySelector(`#${details.id}`)?.setAttribute('open', '')
  const notice = main.querySelector('[role=status]')
  main.replaceChildren(...fresh.childNodes)
  if (notice && !main.querySelector('[role=status]')) main.prepend(notice)
}

function isBusy(main) {
  const { activeElement } = document
  const isSelecting = !(getSelection()?.isCollapsed ?? true)
  return isSelecting || (main.contains(activeElement) && activeElement !== main)
}

if (url) document.addEventListener('visibilitychange', () => (document.hidden ? close() : open()))
if (url && !document.hidden) open()
