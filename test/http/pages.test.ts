/** The pages for people: what they show, what their forms do, and how they look in a real browser, with and without script. */
import { randomUUID } from 'node:crypto'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { StatusReport } from '../../src/core/status.ts'
import { alerts } from '../../src/db/alert-tables.ts'
import { addCallbacks, retryCallback } from '../../src/db/callbacks.ts'
import { applyReports } from '../../src/db/reports.ts'
import { callbacks } from '../../src/db/schema.ts'
import { type Api, startApi } from '../support/api.ts'
import { launchBrowser } from '../support/browser.ts'

const ACCOUNTS = JSON.stringify([
  { name: 'seven', provider: 'seven', apiKey: 'key' },
  { name: 'dutch', provider: 'cm', productToken: 'token', baseUrl: 'http://127.0.0.1:1' },
])
const NASTY = '<script>alert(1)</script>'

let api: Api
beforeAll(async () => {
  api = await startApi({ ACCOUNTS })
  await track('seven', { messageId: '1', recipient: '+491701234567', metadata: { order: 'A&B', note: NASTY } })
  await track('seven', { messageId: '2', recipient: '+491701234567' })
  await track('seven', { messageId: '3', recipient: '+491709999999' })
  await track('dutch', { messageId: 'ref', recipient: '+31612345678' }, { messageId: 'ref', recipient: '+31612345679' })
  await report('1', { status: 'transmitted', rawStatus: 'TRANSMITTED' })
  await report('1', { status: 'failed', rawStatus: 'FAILED', error: { code: '21', description: `absent ${NASTY}` } })
})
afterAll(() => api.close())

async function track(account: string, ...messages: object[]): Promise<void> {
  expect((await api.post('/v1/messages', { account, messages })).status).toBe(202)
}

async function report(messageId: string, more: Pick<StatusReport, 'status' | 'rawStatus'> & Partial<StatusReport>) {
  await applyReports(api.db, [{ account: 'seven', messageId, occurredAt: new Date(), source: 'webhook', ...more }])
}

/** A page's text, its markup taken out. */
async function read(
  path: string,
  init?: RequestInit,
): Promise<{ status: number; html: string; text: string; to: string | null }> {
  const answer = await fetch(api.url + path, { redirect: 'manual', ...init })
  const html = await answer.text()
  const text = html.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ')
  return { status: answer.status, html, text, to: answer.headers.get('location') }
}

function submit(path: string, fields: Record<string, string> = {}, headers: Record<string, string> = {}) {
  return read(path, { method: 'POST', body: new URLSearchParams(fields), headers })
}

describe('the search', () => {
  it.each([
    ['1', '/messages/seven/1?recipient=%2B491701234567'],
    ['+49 170 9999999', '/messages/seven/3?recipient=%2B491709999999'],
    ['order=A&B', '/messages/seven/1?recipient=%2B491701234567'],
  ])('leads from %s to the message, where it is the only one', async (text, to) => {
    expect(await read(`/messages?q=${encodeURIComponent(text)}`)).toMatchObject({ status: 302, to })
  })

  it('lists several, with their numbers masked', async () => {
    const { status, text, html } = await read('/messages?q=0049-170-1234567')
    expect(status).toBe(200)
    expect(text).toContain('To this number')
    expect(html).toContain('href="/messages/seven/2?recipient=%2B491701234567"')
    expect(text).toContain('…67')
    expect(text).not.toContain('1234567 ')
  })

  it('says that nothing is known', async () => {
    const { status, text } = await read(`/messages?q=${encodeURIComponent(NASTY)}`)
    expect(status).toBe(200)
    expect(text).toContain('Nothing is known of &lt;script>alert(1)&lt;/script>')
  })
})

describe('alerts that last', () => {
  it('have the way to their subject, and fold when there are many of a kind', async () => {
    const since = new Date()
    const of = (kind: 'receiver-failing' | 'queue-paused' | 'account-refused', subject: string) => {
      return { kind, subject, message: `About ${subject}.`, since, begunAt: since }
    }
    const receivers = [1, 2, 3, 4].map((n) => of('receiver-failing', `https://app${n}.example`))
    await api.db.insert(alerts).values([...receivers, of('queue-paused', 'track'), of('account-refused', 'seven')])
    for (const path of ['/', '/alerts']) {
      const { text, html } = await read(path)
      expect(html.match(/class="box bad"/g)).toHaveLength(3)
      expect(text).toMatch(/About https:\/\/app\d\.example\. since .* 3 more of this kind .*About https/)
      for (const to of ['/callbacks?receiver=https%3A%2F%2Fapp1.example', '/queues/queue/track', '/accounts/seven']) {
        expect(html).toContain(`href="${to}">Look</a>`)
      }
    }
    await api.db.delete(alerts)
  })
})

describe('the list', () => {
  it('takes the filters of the API, and leaves out empty fields of the form', async () => {
    const { text } = await read(
      '/messages?q=&account=seven&status=failed&error=21&settledBy=&sentAfter=2026-01-01T00%3A00&sentBefore=',
    )
    expect(text).toContain('failed')
    expect(text.match(/seven \+|seven …/g)).toHaveLength(1)
  })

  it('shows a mistake in place, and keeps what was filled in', async () => {
    const { status, text, html } = await read('/messages?account=seven&error=21&sentAfter=yesterday')
    expect(status).toBe(400)
    expect(text).toContain('sentAfter: expected a time like 2026-01-31T10:00:00Z')
    expect(html).toContain('value="21"')
    const twice = await read('/messages?status=arrived&sentAfter=yesterday')
    expect(twice.text).toMatch(/status: .*&quot;read&quot;\. sentAfter: expected a time/)
  })

  it('wants metadata as key=value', async () => {
    const { status, text, html } = await read('/messages?metadata=order&error=21')
    expect(status).toBe(400)
    expect(text).toContain('Metadata: expected key=value, like order=4711, found &quot;order&quot;.')
    expect(html).toContain('value="order"')
  })

  it('says how many messages are asked about before all that match are', async () => {
    await track('seven', { messageId: '80', metadata: { ask: 'all' } }, { messageId: '81', metadata: { ask: 'all' } })
    await track('seven', { messageId: '82', metadata: { ask: 'all' } })
    await report('82', { status: 'delivered', rawStatus: 'DELIVERED' })
    const list = '/messages?metadata=ask%3Dall'
    expect((await read(list)).html).toContain(`href="${list}&amp;confirm=poll"`)
    const asked = await read(`${list}&confirm=poll`)
    expect(asked.text).toContain('2 outstanding messages match.')
    expect(asked.html).toContain('<input type="hidden" name="metadata" value="ask=all"/>')
    const done = await submit('/messages/poll', { metadata: 'ask=all' })
    expect(done).toMatchObject({ status: 303, to: `${list}&notice=asked&count=2` })
    expect((await read(done.to ?? '')).text).toContain('2 messages are asked about next.')
    const refused = await submit('/messages/poll', { metadata: 'ask=all', sentAfter: 'soon' })
    expect(refused.status).toBe(400)
    expect(refused.html).toMatch(/value="soon"/)
  })

  it('goes on by a cursor', async () => {
    await track(
      'seven',
      ...Array.from({ length: 60 }, (_, index) => ({ messageId: `9${index}`, metadata: { run: 1 } })),
    )
    const first = await read('/messages?metadata=run%3D1')
    const next = /href="(\/messages\?[^"]*cursor=[^"]*)"/.exec(first.html)?.[1]?.replaceAll('&amp;', '&')
    const second = await read(next ?? '')
    const rows = (html: string) => html.match(/href="\/messages\/seven\/9/g)?.length
    expect([rows(first.html), rows(second.html)]).toEqual([50, 10])
  })
})

describe('a message', () => {
  it('has its facts and what happened, and no markup of others', async () => {
    const { text, html } = await read('/messages/seven/1')
    expect(text).toMatch(/Why 21: absent/)
    expect(text).toMatch(/transmitted set the status Told by webhook as TRANSMITTED/)
    expect(html).not.toContain('<script>alert')
    expect(text).toContain('&quot;order&quot;: &quot;A&amp;B&quot;')
  })

  it('of a reference with several recipients is chosen by them', async () => {
    const { status, html, text } = await read('/messages/dutch/ref')
    expect(status).toBe(200)
    expect(html).toContain('href="/messages/dutch/ref?recipient=%2B31612345678"')
    expect(text).toContain('…78')
    expect((await read('/messages/dutch/ref?recipient=%2B31612345678')).status).toBe(200)
  })

  it('that nobody tracks is a page that says so', async () => {
    const { status, text } = await read('/messages/seven/404')
    expect(status).toBe(404)
    expect(text).toContain('No such message is tracked')
  })

  it('is asked about by a form, or says in place why not', async () => {
    expect(await submit('/messages/seven/2/poll')).toMatchObject({ status: 303, to: '/messages/seven/2?notice=asked' })
    expect((await read('/messages/seven/2?notice=asked')).text).toContain('The message is asked about next.')
    const refused = await submit('/messages/seven/1/poll')
    expect(refused.status).toBe(409)
    expect(refused.text).toContain('not asked about any more: it is failed')
  })

  it('is erased in two steps, and never by a page of another site', async () => {
    await track('seven', { messageId: '77' })
    expect((await read('/messages/seven/77?confirm=erase')).html).toContain('action="/messages/seven/77/erase"')
    const foreign = await submit('/messages/seven/77/erase', {}, { origin: 'https://evil.example' })
    expect(foreign.status).toBe(403)
    expect((await read('/messages/seven/77')).status).toBe(200)
    expect(await submit('/messages/seven/77/erase')).toMatchObject({ status: 303, to: '/messages?notice=erased' })
    expect((await read('/messages/seven/77')).status).toBe(404)
  })

  it('goes with all others of its number', async () => {
    await track('seven', { messageId: '78', recipient: '+49 171 5' }, { messageId: '79', recipient: '+49 171 5' })
    const asked = await read('/messages?recipient=%2B491715&confirm=erase')
    expect(asked.html).toContain('action="/messages/erase"')
    const done = await submit('/messages/erase', { recipient: '+491715' })
    expect(done).toMatchObject({ status: 303, to: '/messages?notice=erased&count=2' })
    expect((await read(done.to ?? '')).text).toContain('2 messages are erased.')
    expect((await submit('/messages/erase', { recipient: '+491715' })).status).toBe(404)
    expect((await submit('/messages/erase')).status).toBe(400)
  })
})

describe('the other pages', () => {
  it('show an account, and that there is none of a name', async () => {
    expect((await read('/')).html).toContain('href="/accounts/seven"')
    const { text, html } = await read('/accounts/seven')
    expect(text).toContain('no receipt has come yet')
    expect(text).toContain('0 of 300 requests in the last minute (0 %); 5 a second')
    expect(html).toContain('<path class="line"')
    expect((await read('/accounts/nope')).text).toContain('No account named &quot;nope&quot; is configured.')
  })

  it('show callbacks that failed, and try them again', async () => {
    const url = 'https://receiver.example/secret-path'
    const data = { messageId: '1', status: 'failed' }
    const timestamp = new Date().toISOString()
    await addCallbacks(api.db, [
      { change: 4711, message: 1, account: 'seven', url, body: { type: 'message.status', timestamp, data } },
    ])
    const attempt = { tookMs: 42, httpStatus: 500, answer: `no ${NASTY}` }
    const error = 'the receiver answered HTTP 500'
    await api.db.update(callbacks).set({ nextAttemptAt: null })
    await retryCallback(api.db, { change: 4711, claim: randomUUID(), error, delayMs: undefined, attempt })
    const tried = /the receiver answered HTTP 500 after 0 s no &lt;script>/
    const { text, html } = await read('/callbacks')
    expect(text).toMatch(tried)
    expect(text).toContain('1 attempt ')
    expect(html).toContain('href="/callbacks?receiver=https%3A%2F%2Freceiver.example&amp;error=the+receiver+answered')
    expect(html).not.toMatch(/secret-path|<script>alert/)
    expect(html).toContain('href="/messages/seven/1"')
    const message = await read('/messages/seven/1')
    expect(message.text).toMatch(/failed not announced: given up to https:\/\/receiver.example/)
    expect(message.text).toMatch(tried)
    const filters = '/callbacks?receiver=receiver.example&error=HTTP+500'
    const asked = await read(`${filters}&confirm=replay`)
    expect(asked.text).toContain('1 callback will be sent again now')
    expect(asked.html).toContain('<input type="hidden" name="receiver" value="receiver.example"/>')
    expect((await read('/callbacks?error=HTTP+404&confirm=replay')).text).toContain('None of these waits')
    const done = await submit('/callbacks/replay', { receiver: 'receiver.example', error: 'HTTP 500' })
    expect(done.to).toBe(`${filters}&notice=replayed&count=1`)
    expect((await read(done.to ?? '')).text).toContain('1 callback is due again.')
    expect((await submit('/callbacks/replay', { change: '4711' })).to).toBe('/callbacks?notice=replayed&count=1')
    expect((await submit('/callbacks/replay', { change: 'x' })).status).toBe(400)
    const wrong = await read('/callbacks?dueAfter=noon&error=HTTP')
    expect([wrong.status, wrong.html.match(/value="(noon|HTTP)"/g)?.length]).toEqual([400, 2])
  })

  it('are asked for only here: no frame, no cache, nothing from elsewhere', async () => {
    const { headers } = await fetch(`${api.url}/messages`)
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.get('content-security-policy')).toContain("default-src 'self'")
    const style = await fetch(`${api.url}/assets/style.css`)
    expect(style.headers.get('content-type')).toBe('text/css; charset=utf-8')
    const again = await fetch(`${api.url}/assets/style.css`, {
      headers: { 'if-none-match': style.headers.get('etag') ?? '' },
    })
    expect(again.status).toBe(304)
  })
})

const PAGES = [
  '/',
  '/messages',
  '/messages?status=failed',
  '/messages/seven/1',
  '/messages/seven/1?confirm=erase',
  '/accounts/seven',
  '/callbacks',
  '/callbacks?error=HTTP&confirm=replay',
  '/messages?account=seven&confirm=poll',
  '/alerts',
  '/acts',
]

describe('in a browser', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await launchBrowser()
  }, 240_000)
  afterAll(() => browser?.close())

  async function open(options: BrowserContextOptions, use: (page: Page, complaints: string[]) => Promise<void>) {
    const context = await browser.newContext(options)
    const page = await context.newPage()
    const complaints: string[] = []
    page.on('console', (message) => complaints.push(message.text()))
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('request', (request) => {
      if (!request.url().startsWith(api.url)) complaints.push(request.url())
    })
    await use(page, complaints)
    await context.close()
  }

  it.each([
    [1300, 'light'],
    [380, 'dark'],
  ] as const)(
    'every page fits into %d pixels (%s), says nothing on the console and loads nothing from elsewhere',
    (width, colorScheme) =>
      open({ viewport: { width, height: 800 }, colorScheme }, async (page, complaints) => {
        for (const path of PAGES) {
          await page.goto(api.url + path)
          const tooWide = await page.evaluate('document.documentElement.scrollWidth - innerWidth')
          expect([path, tooWide]).toEqual([path, 0])
        }
        expect(complaints).toEqual([])
      }),
  )

  it('a page shows what has changed, by itself', () =>
    open({}, async (page) => {
      await track('seven', { messageId: '500' })
      await page.goto(`${api.url}/messages/seven/500`)
      await page.getByText('no status yet').waitFor()
      await report('500', { status: 'delivered', rawStatus: 'DELIVERED' })
      await page.getByText('Told by webhook as DELIVERED').waitFor()
    }))

  it('without a script everything can be read and done, by the keyboard', () =>
    open({ javaScriptEnabled: false }, async (page) => {
      await track('seven', { messageId: '501' })
      await page.goto(`${api.url}/`)
      await page.getByRole('searchbox').fill('501')
      await page.keyboard.press('Enter')
      await page.getByRole('button', { name: 'Ask now' }).focus()
      await page.keyboard.press('Enter')
      await page.getByText('The message is asked about next.').waitFor()
      await page.getByRole('link', { name: 'Erase…' }).click()
      await page.getByRole('button', { name: 'Erase it' }).click()
      await page.getByText('1 message is erased.').waitFor()
    }))
})
