/** The frame of every page: its head, the ways to the other pages, the search, and a place for what went well or wrong. */
import type { ComponentChildren, JSX } from 'preact'
import { renderToString } from 'preact-render-to-string'

/** How a page is being looked at. */
export interface View {
  /** The path under which browsers reach the service; empty where it is a host's own. */
  prefix: string
  /** The key that looks may change things. */
  mayChange: boolean
  /** In milliseconds since 1970. */
  now: number
}

/** A problem document's words, to be shown in the page that met it. */
export interface Problem {
  status: number
  title: string
  detail: string
}

const PAGES: readonly [path: string, name: string][] = [
  ['/', 'Overview'],
  ['/messages', 'Messages'],
  ['/callbacks', 'Callbacks'],
  ['/alerts', 'Alerts'],
  ['/acts', 'Acts'],
]

const TOOLS: readonly [path: string, name: string][] = [
  ['/queues', 'Queues'],
  ['/docs', 'API'],
]

export interface FrameProps {
  view: View
  title: string
  /** The path of the page, without the prefix. */
  path: string
  /** The text in the search box. */
  search?: string | undefined
  problem?: Problem | undefined
  /** A sentence on what an act has done. */
  notice?: string | undefined
  children?: ComponentChildren
}

/** The document of a page. */
export function documentOf(page: JSX.Element): string {
  return `<!doctype html>\n${renderToString(page)}`
}

export function Frame({ view, title, path, search, problem, notice, children }: FrameProps): JSX.Element {
  const { prefix } = view
  return (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>{`${title} · Lastword`}</title>
        <link rel="icon" href={`${prefix}/assets/icon.svg`} />
        <link rel="stylesheet" href={`${prefix}/assets/style.css`} />
        <script type="module" src={`${prefix}/assets/live.js`} data-live={problem ? undefined : `${prefix}/live`} />
      </head>
      <body>
        <a class="skip" href="#content">
          To the content
        </a>
        <header>
          <a class="name" href={`${prefix}/`}>
            Lastword
          </a>
          <nav aria-label="Pages">
            {PAGES.map(([to, name]) => (
              <a href={prefix + to} aria-current={isWithin(path, to) ? 'page' : undefined}>
                {name}
              </a>
            ))}
            {TOOLS.map(([to, name]) => (
              <a href={prefix + to}>{name}</a>
            ))}
          </nav>
          <search>
            <form action={`${prefix}/messages`}>
              <input
                type="search"
                name="q"
                value={search}
                aria-label="Message ID, phone number, or a value of the metadata"
                placeholder="ID, number, or key=value"
              />
              <button type="submit">Find</button>
            </form>
          </search>
        </header>
        <main id="content" tabIndex={-1}>
          {problem && (
            <div class="box bad" role="alert">
              <strong>{problem.title}.</strong> {problem.detail}
            </div>
          )}
          {notice && (
            <div class="box good" role="status">
              {notice}
            </div>
          )}
          {children}
        </main>
      </body>
    </html>
  )
}

function isWithin(path: string, page: string): boolean {
  return page === '/' ? path === '/' : path === page || path.startsWith(`${page}/`)
}

/** The path of a message's page. */
export function messagePath(account: string, messageId: string, recipient?: string | null): string {
  const query = typeof recipient === 'string' ? `?recipient=${encodeURIComponent(recipient)}` : ''
  return `/messages/${encodeURIComponent(account)}/${encodeURIComponent(messageId)}${query}`
}

export function accountPath(account: string): string {
  return `/accounts/${encodeURIComponent(account)}`
}
