/**
 * The duties of every provider, whatever it speaks: one suite, which each provider passes with a small fixture
 * of samples in its own words.
 */
import { stringify } from 'node:querystring'
import { inspect, isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { LastwordError, ProviderError } from '../../src/core/errors.ts'
import { INTERMEDIATE_STATUSES, isFinal, STATUSES, type Status, type StatusReport } from '../../src/core/status.ts'
import { accountFieldsOf } from '../../src/providers/account-fields.ts'
import type { ProviderHttp } from '../../src/providers/http.ts'
import type { Provider, ProviderAccount, StatusLookup, WebhookRequest } from '../../src/providers/provider.ts'
import { readWebhook } from '../../src/providers/receipt.ts'
import { wrappingsOf } from './wrappings.ts'

/** One message in a provider's own words. */
interface Sample {
  messageId: string
  recipient: string
  status: string
  time: string
}

/** How a local or exact time reads, with the moment the report arrived. */
interface TimeSample {
  text: string
  receivedAt: string
  occurredAt: string
}

export interface ProviderFixture {
  provider: Provider<never>
  /** An entry of ACCOUNTS with every credential, each of at least 30 characters so that no excerpt holds one. */
  entry: Readonly<Record<string, unknown>>
  /** The fields of the entry that are secret, and which of them an account cannot do without. */
  secrets: readonly string[]
  credentials: readonly string[]
  /** A raw form and its normal form; and what cannot be an ID. */
  messageIds: { normal: readonly (readonly [string, string])[]; refused: readonly string[] }
  recipients: readonly (readonly [string, string])[]
  /** Webhooks, complete with what signs them. */
  webhook: {
    statuses: Readonly<Record<string, Status>>
    /** Signs `body` where the provider does, so that what is fuzzed is the reading and not only the refusal. */
    request(account: ProviderAccount, body: Buffer, receivedAt: Date, path?: string): WebhookRequest
    body(sample: Sample): string
    /** Recorded payloads as values, to be read in every wrapping; without them, one sample. */
    payloads?: readonly Readonly<Record<string, unknown>>[]
    times: readonly TimeSample[]
  }
  /** For each look-up by its name: the documented words, and the answer that says them. */
  lookups: Readonly<
    Record<
      string,
      {
        statuses: Readonly<Record<string, Status>>
        answer(samples: readonly Sample[]): string
        times: readonly Omit<TimeSample, 'receivedAt'>[]
      }
    >
  >
}

const SOME_TIME = new Date('2026-06-15T10:00:00.000Z')
const NEVER = new AbortController().signal
const NOT_IN_ANY_TABLE = ['no-such-word', 'constructor', '__proto__', 'toString', '987654']
/** Longest that reading one body of a megabyte may take, on a busy machine. */
const SLOWEST_MS = 3_000

export function describeProvider(fixture: ProviderFixture): void {
  const provider = fixture.provider as unknown as Provider
  const account = provider.accountSchema.parse(fixture.entry)
  const secrets = fixture.secrets.map((field) => String(fixture.entry[field]))
  const [[, messageId] = ['', ''], [, otherId] = ['', '']] = fixture.messageIds.normal
  const [[, recipient] = ['', '']] = fixture.recipients
  const { webhook } = fixture
  const lookups = provider.lookups(account)

  const sample = (changes: Partial<Sample> = {}): Sample => ({
    messageId,
    recipient,
    status: Object.keys(webhook.statuses)[0] ?? '',
    time: '2026-06-15T12:00:00',
    ...changes,
  })
  const receive = (body: string | Buffer, receivedAt = SOME_TIME, changes: Partial<WebhookRequest> = {}) =>
    readWebhook(provider, account, { ...webhook.request(account, Buffer.from(body), receivedAt), ...changes })
  const samplesOf = ({ name }: StatusLookup) => {
    const samples = fixture.lookups[name]
    if (!samples) throw new Error(`Expected the fixture of ${provider.name} to have samples of the look-up ${name}`)
    return samples
  }

  async function ask(lookup: StatusLookup, text: string): Promise<StatusReport[]> {
    const reports: StatusReport[] = []
    const http = answering(text)
    if (lookup.byIds) {
      const answer = await lookup.byIds.ask(http, [{ messageId, sentAt: SOME_TIME }], NEVER)
      for (const id of [...answer.missing, ...answer.reports.map((report) => report.messageId)]) {
        expect(id).toBe(messageId)
      }
      reports.push(...answer.reports)
    }
    if (lookup.byWindow) {
      const answer = await lookup.byWindow.ask(http, { from: SOME_TIME, to: SOME_TIME, page: 0 }, NEVER)
      for (const id of answer.noStatusYet) expect(provider.normalizeMessageId(id)).toBe(id)
      reports.push(...answer.reports)
    }
    return reports
  }

  function expectNormal(reports: readonly StatusReport[], source: StatusReport['source']): void {
    for (const report of reports) {
      expect(report).toMatchObject({ account: account.name, source })
      expect(provider.normalizeMessageId(report.messageId)).toBe(report.messageId)
      expect(STATUSES).toContain(report.status)
      expect(report.occurredAt.getTime()).not.toBeNaN()
      expect(report.recipient !== undefined).toBe(provider.keyedByRecipient)
      if (report.recipient === undefined) continue
      expect(provider.normalizeRecipient(report.recipient)).toBe(report.recipient)
    }
  }

  /** Runs what may fail, and looks at how it failed. */
  async function tolerate(action: () => unknown): Promise<void> {
    try {
      await action()
    } catch (error) {
      if (!(error instanceof LastwordError || error instanceof ProviderError)) throw error
      if (error instanceof LastwordError) expect(['INPUT_INVALID', 'UNAUTHORIZED', 'TOO_LARGE']).toContain(error.code)
      expectNoSecret(error, secrets)
    }
  }

  describe(`${provider.name}: statuses`, () => {
    const tables: [string, Readonly<Record<string, Status>>][] = [
      ['webhook', webhook.statuses],
      ...lookups.map((lookup): [string, Readonly<Record<string, Status>>] => [lookup.name, samplesOf(lookup).statuses]),
    ]

    it.each(tables)('of the %s each end, or are polled again', (_, statuses) => {
      expect(Object.keys(statuses)).not.toEqual([])
      for (const status of Object.values(statuses)) {
        expect(isFinal(status) || INTERMEDIATE_STATUSES.some((intermediate) => intermediate === status)).toBe(true)
      }
    })

    it.each(Object.entries(webhook.statuses))('are read from a webhook: %s is %s', async (rawStatus, status) => {
      const { reports } = await receive(webhook.body(sample({ status: rawStatus })))
      expect(reports).toHaveLength(1)
      expect(reports[0]).toMatchObject({ messageId, status, rawStatus })
      expect(reports[0]).not.toHaveProperty('unmapped')
      expectNormal(reports, 'webhook')
    })

    it.each(
      lookups.flatMap((lookup) => Object.entries(samplesOf(lookup).statuses).map((row) => [lookup, ...row] as const)),
    )('are read from $name: %s is %s', async (lookup, rawStatus, status) => {
      const reports = await ask(lookup, samplesOf(lookup).answer([sample({ status: rawStatus })]))
      expect(reports).not.toEqual([])
      for (const report of reports) {
        expect(report).toMatchObject({ messageId, status, rawStatus })
        expect(report).not.toHaveProperty('unmapped')
      }
      expectNormal(reports, 'poll')
    })

    it.each(NOT_IN_ANY_TABLE)('that nobody documented are kept raw, and more is awaited: %s', async (rawStatus) => {
      const { reports } = await receive(webhook.body(sample({ status: rawStatus })))
      for (const lookup of lookups)
        reports.push(...(await ask(lookup, samplesOf(lookup).answer([sample({ status: rawStatus })]))))
      expect(reports.length).toBeGreaterThan(0)
      for (const report of reports) {
        expect(report).toMatchObject({ rawStatus, unmapped: true })
        expect(isFinal(report.status)).toBe(false)
      }
    })
  })

  describe(`${provider.name}: times`, () => {
    it.each([...webhook.times])('of a webhook: $text is $occurredAt', async ({ text, receivedAt, occurredAt }) => {
      const { reports } = await receive(webhook.body(sample({ time: text })), new Date(receivedAt))
      expect(reports.map((report) => report.occurredAt.toISOString())).toEqual([occurredAt])
    })

    const rows = lookups.flatMap((lookup) => samplesOf(lookup).times.map((time) => ({ ...time, lookup })))
    it.each(rows)('of $lookup.name: $text is $occurredAt', async ({ lookup, text, occurredAt }) => {
      const reports = await ask(lookup, samplesOf(lookup).answer([sample({ time: text })]))
      expect(new Set(reports.map((report) => report.occurredAt.toISOString()))).toEqual(new Set([occurredAt]))
    })

    it('cover both nights on which the clocks change', () => {
      for (const { times } of [webhook, ...lookups.map(samplesOf)]) {
        const days = times.map(({ occurredAt }) => occurredAt.slice(0, 10))
        expect(days).toEqual(expect.arrayContaining(['2026-03-29', '2026-10-25']))
      }
    })
  })

  describe(`${provider.name}: normal forms`, () => {
    it.each([...fixture.messageIds.normal])('of the message ID %j is %j', async (raw, normal) => {
      expect(provider.normalizeMessageId(raw)).toBe(normal)
      expect((await receive(webhook.body(sample({ messageId: raw })))).reports[0]?.messageId).toBe(normal)
    })

    it.each([...fixture.messageIds.refused, '', ' ', '\u0000', 'x'.repeat(1000)])('cannot be made of %j', (raw) => {
      expect(provider.normalizeMessageId(raw)).toBeUndefined()
    })

    it.each([...fixture.recipients])('of the number %j is %j', async (raw, normal) => {
      expect(provider.normalizeRecipient(raw)).toBe(normal)
      const named = (await receive(webhook.body(sample({ recipient: raw })))).reports[0]?.recipient
      expect(named).toBe(provider.keyedByRecipient ? normal : undefined)
    })

    it('are their own normal form', () => {
      const text = fc.oneof(fc.string(), fc.stringMatching(/^[A-Za-z0-9._+ ()-]{0,70}$/))
      fc.assert(
        fc.property(text, (raw) => {
          const id = provider.normalizeMessageId(raw)
          if (id !== undefined) expect(provider.normalizeMessageId(id)).toBe(id)
          const number = provider.normalizeRecipient(raw)
          expect(provider.normalizeRecipient(number)).toBe(number)
        }),
        { numRuns: 300 },
      )
      expect(provider.messageIdRule).not.toBe('')
    })

    it('declares its credentials as secrets, and nothing that may be one as printable', () => {
      const { secret, printable } = accountFieldsOf(provider.accountSchema)
      expect(secret).toEqual(expect.arrayContaining(['webhookToken', 'callback.secret']))
      const credentials = /key|token|secret|pass(word|phrase)?$|credential/i
      const named = [...Object.keys(fixture.entry), ...printable].filter((path) => credentials.test(path))
      expect(secret).toEqual(expect.arrayContaining([...named, ...fixture.secrets]))
      expect(printable.filter((path) => secret.includes(path) || /url/i.test(path))).toEqual([])
    })
  })

  describe(`${provider.name}: whatever comes`, () => {
    const word = fc.constantFrom(
      ...Object.keys(webhook.statuses),
      ...[
        '',
        'null',
        '0',
        '__proto__',
        'constructor',
        '<',
        '{',
        '}',
        '[',
        ']',
        '"',
        '&',
        '=',
        '%',
        '\u0000',
        '\n',
        ',',
      ],
      ...secrets.map((secret) => `Wrong: ${secret}`),
    )
    const damaged = (valid: string) =>
      fc
        .tuple(fc.nat(valid.length), fc.nat(12), fc.oneof(word, fc.string({ maxLength: 4 })))
        .map(([at, length, instead]) => valid.slice(0, at) + instead + valid.slice(at + length))
    const garbage = (valid: string) =>
      fc.oneof(
        damaged(valid),
        fc.array(word).map((words) => words.join('')),
        fc.json(),
        fc.string({ unit: 'binary' }),
      )
    const loose = fc.dictionary(
      fc.oneof(word, fc.constantFrom('reference', 'status', 'STATUS', 'to', 'msg_id', 'x-signature', 'x-timestamp')),
      fc.oneof(word, fc.string(), fc.array(fc.string())),
    )

    it('a webhook brings reports in normal form, or one of the known refusals', async () => {
      const body = fc.oneof(
        garbage(webhook.body(sample())).map((text) => Buffer.from(text)),
        fc.uint8Array().map((bytes) => Buffer.from(bytes)),
      )
      const method = fc.constantFrom('GET', 'POST')
      await fc.assert(
        fc.asyncProperty(body, method, loose, fc.option(loose), (bytes, verb, query, headers) =>
          tolerate(async () => {
            const { reports, ignored } = await receive(bytes, SOME_TIME, {
              method: verb,
              path: `/?${stringify(query)}`,
              ...(headers ? { headers } : {}),
            })
            expectNormal(reports, 'webhook')
            expect(reports.length > 0 || ignored !== undefined).toBe(true)
          }),
        ),
        { numRuns: 300 },
      )
    })

    it.each(lookups)('an answer of $name brings what was asked for, or one of the known errors', async (lookup) => {
      const body = garbage(samplesOf(lookup).answer([sample(), sample({ messageId: otherId })]))
      await fc.assert(
        fc.asyncProperty(body, (text) => tolerate(async () => expectNormal(await ask(lookup, text), 'poll'))),
        { numRuns: 300 },
      )
    })

    it.each([
      '<',
      '<a>',
      '<!--',
      '{',
      '[',
      '{"a":',
      '"',
      '\\',
      '&',
      '=',
      '%',
      '%zz&',
      '9',
      ' ',
      '\u0000',
      '[[1],',
      '<a b="',
    ])('a megabyte of %j is read in time', async (piece) => {
      const text = piece.repeat(2 ** 20 / piece.length)
      for (const body of [text, `{"a":${text}`, `<MESSAGES>${text}`]) {
        const before = process.cpuUsage()
        await tolerate(() => receive(body))
        for (const lookup of lookups) await tolerate(() => ask(lookup, body))
        // The work of this process, however many others want the processor.
        const { user, system } = process.cpuUsage(before)
        expect((user + system) / 1000).toBeLessThan(SLOWEST_MS)
      }
    })

    it('the empty request by which set-up screens test a URL never becomes a report', async () => {
      await tolerate(async () => expect((await receive('')).reports).toEqual([]))
    })
  })

  describe(`${provider.name}: wrappings`, () => {
    const payloads = webhook.payloads ?? [JSON.parse(webhook.body(sample()))]

    it.each(payloads.map((payload, index) => [index, payload] as const))(
      'of payload %i all bring the same reports',
      async (_, payload) => {
        const expected = (await receive(JSON.stringify(payload))).reports
        expect(expected.length).toBeGreaterThan(0)
        const wrong: string[] = []
        let count = 0
        for (const [name, { query, body, headers, method }] of wrappingsOf(payload)) {
          count++
          const request = webhook.request(account, body, SOME_TIME, query === '' ? '' : `?${query}`)
          const changes = { method, body, headers: { ...request.headers, ...headers } }
          const read = await readWebhook(provider, account, { ...request, ...changes }).catch((error: unknown) => error)
          if (!isDeepStrictEqual(reportsOf(read), textual(expected)))
            wrong.push(`${name}: ${inspect(read, { depth: 5 })}`)
        }
        expect(wrong.slice(0, 5)).toEqual([])
        expect(count).toBeGreaterThan(1_300)
      },
    )
  })

  describe(`${provider.name}: secrets`, () => {
    it('are long enough to be searched for', () => {
      expect(secrets.length).toBeGreaterThan(0)
      for (const secret of secrets) expect(secret.length).toBeGreaterThanOrEqual(30)
      expect(fixture.secrets).toEqual(expect.arrayContaining([...fixture.credentials]))
    })

    it.each([...fixture.credentials])('an account is refused without %s, and prints no other', (field) => {
      for (const value of [undefined, '', ' ', 'a key with spaces', 7, null, {}]) {
        const entry = { ...fixture.entry, [field]: value }
        const { success, error } = provider.accountSchema.safeParse(entry)
        expect(success).toBe(false)
        expectNoSecret(error, secrets)
        expectNoSecret(
          errorOf(() => configOf(entry)),
          [...secrets, 'a key with spaces'],
        )
      }
    })

    it.each([...fixture.secrets])('are not printed when %s is mistyped', (field) => {
      const error = errorOf(() => configOf({ ...fixture.entry, [field]: `${fixture.entry[field]} \u0000` }))
      expect(error).toBeInstanceOf(LastwordError)
      expectNoSecret(error, secrets)
    })

    it('are not printed when another field is wrong or unknown', () => {
      for (const wrong of [{ nonsense: 1 }, { baseUrl: 'nowhere' }, { batchSize: 0 }, { query: 'never' }]) {
        expectNoSecret(
          errorOf(() => configOf({ ...fixture.entry, ...wrong })),
          secrets,
        )
      }
    })
  })

  describe(`${provider.name}: the account and its look-ups`, () => {
    it('are accepted by the configuration', () => {
      expect(configOf(fixture.entry).accounts).toEqual([account])
      expect(account).toMatchObject({ name: fixture.entry.name, provider: provider.name })
    })

    it('agree in how they are asked', () => {
      const names = lookups.map(({ name }) => name)
      expect(new Set(names).size).toBe(names.length)
      expect(provider.lookups(account).map(({ name }) => name)).toEqual(names)
      for (const { name, byIds, byWindow } of lookups) {
        expect(name).toMatch(/^[a-z-]+$/)
        expect(byIds ?? byWindow).toBeDefined()
        if (byIds) {
          expect(byIds.limits.maxIds).toBeGreaterThanOrEqual(1)
          expect(byIds.limits.maxChars).toBeGreaterThanOrEqual(messageId.length)
        }
        if (byWindow) {
          expect(byWindow.maxSpanMs).toBeGreaterThan(0)
          expect(byWindow.slackMs).toBeGreaterThanOrEqual(0)
          expect(byWindow.pageSize).toBeGreaterThanOrEqual(1)
        }
      }
    })

    it('are not asked when the account says off', () => {
      expect(provider.lookups({ ...account, query: 'off' })).toEqual([])
    })
  })
}

function configOf(entry: Readonly<Record<string, unknown>>) {
  return readConfig({ ACCOUNTS: JSON.stringify([entry]), PUBLIC_URL: 'https://example.com' })
}

function answering(text: string): ProviderHttp {
  const answer = async () => ({ status: 200, headers: {}, text })
  return { get: answer, post: answer, delete: answer, close: async () => {} }
}

function errorOf(action: () => unknown): unknown {
  try {
    action()
  } catch (error) {
    return error
  }
  return expect.fail('Expected an error, got none')
}

function expectNoSecret(error: unknown, secrets: readonly string[]): void {
  const printed = [String(error), JSON.stringify(error), inspect(error, { depth: null, showHidden: true })]
  if (error instanceof Error) printed.push(error.message, error.stack ?? '')
  for (const secret of secrets) for (const text of printed) expect(text).not.toContain(secret)
}

/** Reports as they compare: forms and XML carry a number as a text, and leave out what is empty. */
function textual(reports: readonly StatusReport[]): unknown {
  return JSON.parse(JSON.stringify(reports), (_key, value: unknown) =>
    typeof value === 'number' ? String(value) : value,
  )
}

function reportsOf(reading: unknown): unknown {
  const isReading = typeof reading === 'object' && reading !== null && 'reports' in reading
  return isReading ? textual(reading.reports as StatusReport[]) : reading
}
