import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Key } from '../src/config/keys.ts'
import { type Config, isLoopback, readConfig, readServiceLocation } from '../src/config.ts'
import { LastwordError } from '../src/core/errors.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** Values that stand for secrets: whatever goes wrong, they are never printed. */
const SECRETS = ['sEcReT-one', 'sEcReT two', 'sEcReT-in-a-url', 'sEcReT.token', '4711081512', 'c0VjUmVU']

/** "sEcReT" four times and a half, which makes 27 bytes, in base64. */
const CALLBACK_SECRET = `whsec_${'c0VjUmVU'.repeat(4)}c0Vj`

const byDefault: Config = {
  host: '127.0.0.1',
  port: 3000,
  databaseUrl: undefined,
  databaseDirectUrl: undefined,
  queuePrefix: '{lastword}',
  startWithinMs: 30_000,
  metricsPort: undefined,
  queueUrl: undefined,
  dataDir: '.lastword',
  accounts: [],
  keys: [],
  publicUrl: undefined,
  trustedProxies: [],
  callbackAllowPrivate: false,
  alertReceiver: undefined,
  logLevel: 'info',
  tracing: false,
  leaseMs: MINUTE,
  changesRetentionMs: 30 * DAY,
  messagesRetentionMs: 90 * DAY,
  proxy: {},
}

const backoff = { policy: 'exponential', firstAfterMs: MINUTE, factor: 2, maxIntervalMs: 6 * HOUR, windowMs: 30 * DAY }
const sevenByDefault = {
  name: 'main',
  provider: 'seven',
  apiKey: 'sEcReT-one',
  baseUrl: 'https://gateway.seven.io/api',
  query: 'auto',
  batchSize: 100,
  requestsPerSecond: 5,
  timeoutMs: 10_000,
  signatureFreshnessMs: 3_600_000,
  polling: { policy: 'learned', priceMs: 5 * MINUTE, windowMs: 30 * DAY },
}

let directory = ''

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'lastword-config-'))
})

afterAll(() => rmSync(directory, { recursive: true }))

function fileOf(text: string, name = 'accounts.json'): string {
  const path = join(directory, name)
  writeFileSync(path, text)
  return path
}

/** One account of seven, correct but for the changes, as the text of ACCOUNTS. */
const accounts = (...changes: object[]) =>
  JSON.stringify(changes.map((change) => ({ name: 'main', provider: 'seven', apiKey: 'sEcReT-one', ...change })))

const keysOf = (grants: Key['grants'], ...keys: [value: string, name?: string][]): Key[] =>
  keys.map(([value, name]) => ({ name, value, grants }))

function mistakeIn(environment: Record<string, string>): LastwordError {
  try {
    readConfig(environment)
  } catch (error) {
    const printed = [inspect(error, { depth: null, showHidden: true }), JSON.stringify(error), String(error)].join('\n')
    for (const secret of SECRETS) expect(printed).not.toContain(secret)
    expect(error).toBeInstanceOf(LastwordError)
    expect(error).toMatchObject({ code: 'CONFIG_INVALID' })
    return error as LastwordError
  }
  throw new Error('Expected CONFIG_INVALID, got a configuration')
}

describe('a correct configuration', () => {
  it('has a default for everything', () => {
    expect(readConfig({})).toEqual(byDefault)
  })

  it('takes empty variables for unset ones', () => {
    const names = ['HOST', 'PORT', 'DATABASE_URL', 'QUEUE_URL', 'DATA_DIR', 'ACCOUNTS', 'ACCOUNTS_FILE', 'API_KEYS']
    const empty = Object.fromEntries([...names, 'PUBLIC_URL', 'LOG_LEVEL', 'LEASE'].map((name) => [name, '']))
    expect(readConfig(empty)).toEqual(byDefault)
  })

  it.each<[Record<string, string>, Partial<Config>]>([
    [{ HOST: '::1' }, { host: '::1' }],
    [
      { HOST: '0.0.0.0', API_KEYS: 'sEcReT-one-of-16' },
      { host: '0.0.0.0', keys: keysOf('change', ['sEcReT-one-of-16']) },
    ],
    [
      { TRUSTED_PROXIES: '10.0.0.1, fd00::/8,loopback,uniquelocal' },
      { trustedProxies: ['10.0.0.1', 'fd00::/8', 'loopback', 'uniquelocal'] },
    ],
    [{ PORT: '0' }, { port: 0 }],
    [{ PORT: '65535' }, { port: 65_535 }],
    [{ DATABASE_URL: 'postgres://u:p@db/x' }, { databaseUrl: 'postgres://u:p@db/x' }],
    [{ DATABASE_URL: 'postgresql://db/x' }, { databaseUrl: 'postgresql://db/x' }],
    [{ QUEUE_URL: 'redis://r:6379/1' }, { queueUrl: 'redis://r:6379/1' }],
    [{ QUEUE_URL: 'rediss://r' }, { queueUrl: 'rediss://r' }],
    [{ QUEUE_URL: 'postgres://db/x' }, { queueUrl: 'postgres://db/x' }],
    [{ DATA_DIR: '/var/lib/lastword' }, { dataDir: '/var/lib/lastword' }],
    [{ API_KEYS: 'one, two' }, { keys: keysOf('change', ['one'], ['two']) }],
    [{ API_KEYS: 'ops=one,ops=two' }, { keys: keysOf('change', ['one', 'ops'], ['two', 'ops']) }],
    // Keys of base64 end with =.
    [{ API_KEYS: 'b25l=,dHdv==' }, { keys: keysOf('change', ['b25l='], ['dHdv==']) }],
    [{ API_KEYS: 'ci-2=dHdv==,a==b' }, { keys: keysOf('change', ['dHdv==', 'ci-2'], ['=b', 'a']) }],
    [{ READ_KEYS: 'wall=look' }, { keys: keysOf('look', ['look', 'wall']) }],
    [
      { METRICS_KEYS: 'm', READ_KEYS: 'r', API_KEYS: 'a' },
      { keys: [...keysOf('change', ['a']), ...keysOf('look', ['r']), ...keysOf('metrics', ['m'])] },
    ],
    [
      { ALERT_URL: 'http://10.0.0.1/alerts?key=x', ALERT_SECRET: `${CALLBACK_SECRET}, ${CALLBACK_SECRET}AA==` },
      {
        alertReceiver: {
          url: 'http://10.0.0.1/alerts?key=x',
          secrets: [CALLBACK_SECRET, `${CALLBACK_SECRET}AA==`],
        },
      },
    ],
    [{ PUBLIC_URL: 'https://sms.example.com/lastword/' }, { publicUrl: 'https://sms.example.com/lastword' }],
    [{ PUBLIC_URL: 'https://sms.example.com//' }, { publicUrl: 'https://sms.example.com' }],
    [{ CALLBACK_ALLOW_PRIVATE: 'true' }, { callbackAllowPrivate: true }],
    [{ CALLBACK_ALLOW_PRIVATE: 'false' }, { callbackAllowPrivate: false }],
    [{ LOG_LEVEL: 'silent' }, { logLevel: 'silent' }],
    [{ OTEL_TRACES_EXPORTER: 'console' }, { tracing: true }],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }, { tracing: true }],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://collector:4318/v1/traces' }, { tracing: true }],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318', OTEL_TRACES_EXPORTER: 'none' }, { tracing: false }],
    [{ OTEL_TRACES_EXPORTER: 'otlp', OTEL_SDK_DISABLED: 'TRUE' }, { tracing: false }],
    [{ LEASE: '5m' }, { leaseMs: 5 * MINUTE }],
    [{ CHANGES_RETENTION: '7d' }, { changesRetentionMs: 7 * DAY }],
    [{ MESSAGES_RETENTION: '30d' }, { messagesRetentionMs: 30 * DAY }],
    [{ CHANGES_RETENTION: '' }, { changesRetentionMs: 30 * DAY }],
    [{ HTTPS_PROXY: 'http://u:p@proxy:3128' }, { proxy: { https: 'http://u:p@proxy:3128' } }],
    [
      { http_proxy: 'proxy:3128', HTTP_PROXY: 'http://other', no_proxy: 'a.example,.b' },
      { proxy: { http: 'http://proxy:3128', except: 'a.example,.b' } },
    ],
    [{ UNRELATED: 'x' }, {}],
  ])('%j', (environment, changes) => {
    expect(readConfig(environment)).toEqual({ ...byDefault, ...changes })
  })

  it.each<[string, string, object[]]>([
    ['none', '[]', []],
    ['one with its defaults', accounts({}), [sevenByDefault]],
    [
      'two',
      accounts({}, { name: 'other-2', query: 'off' }),
      [sevenByDefault, { ...sevenByDefault, name: 'other-2', query: 'off' }],
    ],
    [
      'everything said',
      accounts({
        webhookToken: 'a_Token-1',
        baseUrl: 'http://127.0.0.1:4000/api',
        query: 'status',
        batchSize: 1000,
        requestsPerSecond: 0.5,
        timeout: '2.5s',
        polling: { firstAfter: '500ms', factor: 1.5, maxInterval: '5m', window: '2d' },
      }),
      [
        {
          ...sevenByDefault,
          webhookToken: ['a_Token-1'],
          baseUrl: 'http://127.0.0.1:4000/api',
          query: 'status',
          batchSize: 1000,
          requestsPerSecond: 0.5,
          timeoutMs: 2500,
          polling: {
            policy: 'exponential',
            firstAfterMs: 500,
            factor: 1.5,
            maxIntervalMs: 5 * MINUTE,
            windowMs: 2 * DAY,
          },
        },
      ],
    ],
    [
      'polling said in part',
      accounts({ polling: { window: '72h' } }),
      [{ ...sevenByDefault, polling: { ...sevenByDefault.polling, windowMs: 72 * HOUR } }],
    ],
    [
      'a price for the learned policy',
      accounts({ polling: { policy: 'learned', price: '90s' } }),
      [{ ...sevenByDefault, polling: { ...sevenByDefault.polling, priceMs: 90_000 } }],
    ],
    [
      'the exponential policy by name',
      accounts({ polling: { policy: 'exponential' } }),
      [{ ...sevenByDefault, polling: backoff }],
    ],
    [
      'the exponential policy by one of its settings',
      accounts({ polling: { maxInterval: '1h' } }),
      [{ ...sevenByDefault, polling: { ...backoff, maxIntervalMs: HOUR } }],
    ],
    [
      'a callback, with its defaults',
      accounts({ callback: { url: 'https://app.example.com/sms', secret: CALLBACK_SECRET } }),
      [
        {
          ...sevenByDefault,
          callback: { url: 'https://app.example.com/sms', secret: [CALLBACK_SECRET], events: 'all' },
        },
      ],
    ],
    [
      'receivers with secrets of their own',
      accounts({
        callback: {
          secret: CALLBACK_SECRET,
          endpoints: [{ url: 'https://tenant.example/sms', secret: [CALLBACK_SECRET, `${CALLBACK_SECRET}c0VjUmVU`] }],
        },
      }),
      [
        {
          ...sevenByDefault,
          callback: {
            secret: [CALLBACK_SECRET],
            endpoints: [{ url: 'https://tenant.example/sms', secret: [CALLBACK_SECRET, `${CALLBACK_SECRET}c0VjUmVU`] }],
            events: 'all',
          },
        },
      ],
    ],
    [
      'a callback whose URL each message brings',
      accounts({ callback: { secret: CALLBACK_SECRET, events: 'final' } }),
      [{ ...sevenByDefault, callback: { secret: [CALLBACK_SECRET], events: 'final' } }],
    ],
    [
      'several tokens, while both sides change',
      accounts({ webhookToken: ['next', 'last', 'next'] }),
      [{ ...sevenByDefault, webhookToken: ['next', 'last'] }],
    ],
    [
      'a queue for the changes',
      accounts({ changesQueue: 'Sms_changes.main-1' }, { name: 'other', changesQueue: 'Sms_changes.main-1' }),
      [
        { ...sevenByDefault, changesQueue: 'Sms_changes.main-1' },
        { ...sevenByDefault, name: 'other', changesQueue: 'Sms_changes.main-1' },
      ],
    ],
    [
      'queue names that only begin like one of ours',
      accounts({ changesQueue: 'tracks' }, { name: 'other', changesQueue: 'status-query' }),
      [
        { ...sevenByDefault, changesQueue: 'tracks' },
        { ...sevenByDefault, name: 'other', changesQueue: 'status-query' },
      ],
    ],
    [
      'values of the environment',
      accounts({ apiKey: 'env:SEVEN_KEY', polling: { firstAfter: 'env:FIRST' } }),
      [{ ...sevenByDefault, apiKey: 'from-outside', polling: { ...backoff, firstAfterMs: 30_000 } }],
    ],
  ])('accounts: %s', (_, text, expected) => {
    const outside = { SEVEN_KEY: 'from-outside', FIRST: '30s' }
    expect(readConfig({ ...outside, ACCOUNTS: text }).accounts).toEqual(expected)
    expect(readConfig({ ...outside, ACCOUNTS_FILE: fileOf(text) }).accounts).toEqual(expected)
  })

  it.each<[string, string, Partial<Config>]>([
    ['DATABASE_URL', 'postgres://u:p@db/x\n', { databaseUrl: 'postgres://u:p@db/x' }],
    ['QUEUE_URL', 'redis://:p@r/1', { queueUrl: 'redis://:p@r/1' }],
    ['API_KEYS', 'one,two\n', { keys: keysOf('change', ['one'], ['two']) }],
    ['READ_KEYS', 'wall=look\n', { keys: keysOf('look', ['look', 'wall']) }],
    ['METRICS_KEYS', 'm\n', { keys: keysOf('metrics', ['m']) }],
    ['HTTP_PROXY', 'http://u:p@proxy\n', { proxy: { http: 'http://u:p@proxy' } }],
    ['HTTPS_PROXY', 'http://u:p@proxy\n', { proxy: { https: 'http://u:p@proxy' } }],
  ])('reads %s from a file', (variable, text, expected) => {
    const environment = { [`${variable}_FILE`]: fileOf(text, 'secret') }
    expect(readConfig(environment)).toEqual({ ...byDefault, ...expected })
  })

  it('reads DATABASE_DIRECT_URL from a file, too', () => {
    const DATABASE_DIRECT_URL_FILE = fileOf('postgres://u:p@db/x\r\n', 'secret')
    const { databaseDirectUrl } = readConfig({ DATABASE_URL: 'postgres://u:p@pooler/x', DATABASE_DIRECT_URL_FILE })
    expect(databaseDirectUrl).toBe('postgres://u:p@db/x')
  })

  it('reads a value of an account from a file, without the line end', () => {
    const text = accounts({
      apiKey: `file:${fileOf('from-a-file\n', 'secret')}`,
      webhookToken: ['first', 'env:SECOND'],
    })
    const [account] = readConfig({ ACCOUNTS: text, SECOND: 'second' }).accounts
    expect(account).toEqual({ ...sevenByDefault, apiKey: 'from-a-file', webhookToken: ['first', 'second'] })
  })
})

describe('a mistake is told in one sentence: which variable, what was found, what is expected', () => {
  it.each<[Record<string, string>, string]>([
    [{ PORT: 'http' }, 'PORT: found "http", expected a port number from 0 to 65535.'],
    [{ PORT: '65536' }, 'PORT: found "65536", expected a port number from 0 to 65535.'],
    [{ PORT: '-1' }, 'PORT: found "-1", expected a port number from 0 to 65535.'],
    [{ PORT: '3000.5' }, 'PORT: found "3000.5", expected a port number from 0 to 65535.'],
    [{ PORT: '0x10' }, 'PORT: found "0x10", expected a port number from 0 to 65535.'],
    [
      { DATABASE_URL: 'mysql://root:sEcReT-in-a-url@db/x' },
      'DATABASE_URL: found a URL that begins with mysql:, expected a URL that begins with postgres:// or postgresql://.',
    ],
    [
      { DATABASE_URL: '//root:sEcReT-in-a-url@db' },
      'DATABASE_URL: found text that is not a URL, expected a URL that begins with postgres:// or postgresql://.',
    ],
    [
      { QUEUE_URL: 'http://:sEcReT-in-a-url@r' },
      'QUEUE_URL: found a URL that begins with http:, expected a URL that begins with redis:// or rediss:// or redis+cluster:// or rediss+cluster:// or postgres:// or postgresql://.',
    ],
    [
      { QUEUE_URL: 'r' },
      'QUEUE_URL: found text that is not a URL, expected a URL that begins with redis:// or rediss:// or redis+cluster:// or rediss+cluster:// or postgres:// or postgresql://.',
    ],
    [
      { ALERT_URL: 'https://ops.example/sEcReT-in-a-url' },
      'ALERT_SECRET: found nothing, expected whsec_ and at least 24 bytes in base64, or several with commas between them, because ALERT_URL is set.',
    ],
    [
      { ALERT_URL: 'https://ops.example', ALERT_SECRET: 'sEcReT-one' },
      'ALERT_SECRET: found another text, expected whsec_ and at least 24 bytes in base64, or several with commas between them.',
    ],
    [
      { ALERT_SECRET: CALLBACK_SECRET },
      'ALERT_URL: found nothing, expected the URL that alerts are sent to, because ALERT_SECRET is set.',
    ],
    [
      { ALERT_URL: 'https://ops:sEcReT-one@ops.example', ALERT_SECRET: CALLBACK_SECRET },
      'ALERT_URL: found a user name or password, expected a URL without them.',
    ],
    [
      { PUBLIC_URL: 'sms.example.com' },
      'PUBLIC_URL: found text that is not a URL, expected a URL that begins with http:// or https://.',
    ],
    [
      { PUBLIC_URL: 'ftp://sms.example.com' },
      'PUBLIC_URL: found a URL that begins with ftp:, expected a URL that begins with http:// or https://.',
    ],
    [{ CALLBACK_ALLOW_PRIVATE: 'yes' }, 'CALLBACK_ALLOW_PRIVATE: found "yes", expected one of true, false.'],
    [{ LOG_LEVEL: 'loud' }, 'LOG_LEVEL: found "loud", expected one of fatal, error, warn, info, debug, trace, silent.'],
    [{ LEASE: '60' }, 'LEASE: found "60", expected a duration like 500ms, 30s, 5m, 6h or 30d.'],
    [{ LEASE: '0s' }, 'LEASE: found "0s", expected a duration like 500ms, 30s, 5m, 6h or 30d.'],
    [{ CHANGES_RETENTION: '30' }, 'CHANGES_RETENTION: found "30", expected a duration like 500ms, 30s, 5m, 6h or 30d.'],
    [
      { MESSAGES_RETENTION: '29d' },
      'MESSAGES_RETENTION: found 2505600000 ms, shorter than CHANGES_RETENTION (2592000000 ms), expected at least as long, because a change is told with its message.',
    ],
    [{ MESSAGES_RETENTION: '999999d' }, 'MESSAGES_RETENTION: found "999999d", expected a duration of at most 36500d.'],
    [
      { DATABASE_DIRECT_URL: 'postgres://127.0.0.1:5432/app' },
      'DATABASE_URL: found nothing, expected the URL of the pooler that DATABASE_DIRECT_URL leads past.',
    ],
    [
      { PUBLIC_URL: 'https://sms.example.com/?a=1' },
      'PUBLIC_URL: found a URL with a ? or #, expected the base URL alone, which paths are added to.',
    ],
    [
      {
        ACCOUNTS: accounts({ callback: { url: 'https://[::ffff:10.0.0.1]/sEcReT-in-a-url', secret: CALLBACK_SECRET } }),
      },
      'CALLBACK_ALLOW_PRIVATE: found false, expected true, because the callback URL of account "main" is at no public address; or a public one there.',
    ],
    [{ CHANGES_RETENTION: '0d' }, 'CHANGES_RETENTION: found "0d", expected a duration like 500ms, 30s, 5m, 6h or 30d.'],
    [
      { ACCOUNTS: accounts({ callback: { url: 'http://app.example.com/sEcReT-in-a-url', secret: CALLBACK_SECRET } }) },
      'CALLBACK_ALLOW_PRIVATE: found false, expected true, because the callback URL of account "main" is not https; or an https URL there.',
    ],
    [
      {
        CALLBACK_ALLOW_PRIVATE: 'false',
        ACCOUNTS: accounts({ callback: { url: 'http://127.0.0.1:4000/sEcReT-in-a-url', secret: CALLBACK_SECRET } }),
      },
      'CALLBACK_ALLOW_PRIVATE: found false, expected true, because the callback URL of account "main" is not https; or an https URL there.',
    ],
    [
      { LEASE: '19s', ACCOUNTS: accounts({}) },
      'LEASE: found 19000 ms, expected at least twice the timeout of account "main" (10000 ms).',
    ],
    [
      { ACCOUNTS: accounts({ timeout: '31s' }) },
      'LEASE: found 60000 ms, expected at least twice the timeout of account "main" (31000 ms).',
    ],
    [
      { HOST: '0.0.0.0' },
      'API_KEYS: found nothing, expected at least one key, because HOST is 0.0.0.0; or set HOST to 127.0.0.1.',
    ],
    [
      { HOST: 'sms.example.com', API_KEYS: '' },
      'API_KEYS: found nothing, expected at least one key, because HOST is sms.example.com; or set HOST to 127.0.0.1.',
    ],
    ...[
      ['API_KEYS', { API_KEYS: 'long-enough-to-be-good,sEcReT-one' }],
      ['READ_KEYS', { API_KEYS: 'long-enough-to-be-good', READ_KEYS: 'wall=sEcReT-one' }],
      ['METRICS_KEYS', { API_KEYS: 'long-enough-to-be-good', METRICS_KEYS: 'sEcReT-one' }],
    ].map(([variable, keys]): [Record<string, string>, string] => [
      { HOST: '0.0.0.0', ...(keys as Record<string, string>) },
      `${variable}: found a key of fewer than 16 characters, expected at least so many, because HOST is 0.0.0.0; \`openssl rand -hex 24\` makes good ones.`,
    ]),
    [
      {
        HOST: '0.0.0.0',
        API_KEYS: 'long-enough-to-be-good',
        ACCOUNTS: accounts({ webhookToken: ['a-long-random-word', 'sEcReT-one'] }),
      },
      'webhookToken of account "main": found fewer than 16 characters, expected at least so many, because HOST is 0.0.0.0; `openssl rand -hex 24` makes good ones.',
    ],
    [
      { TRUSTED_PROXIES: '10.0.0.1,proxy.example' },
      'TRUSTED_PROXIES: found "proxy.example", expected addresses, networks like 10.0.0.0/8, or loopback, linklocal, uniquelocal, with commas between them.',
    ],
    [
      { API_KEYS: 'sEcReT-one,,' },
      'API_KEYS: found a key that is empty or holds a space, expected comma-separated keys of printable characters.',
    ],
    [
      { API_KEYS: 'sEcReT two' },
      'API_KEYS: found a key that is empty or holds a space, expected comma-separated keys of printable characters.',
    ],
    [
      { API_KEYS: ' ' },
      'API_KEYS: found a key that is empty or holds a space, expected comma-separated keys of printable characters.',
    ],
    [
      { HOST: '0.0.0.0', READ_KEYS: 'sEcReT', METRICS_KEYS: 'sEcReT-two' },
      'API_KEYS: found nothing, expected at least one key, because HOST is 0.0.0.0; or set HOST to 127.0.0.1.',
    ],
    [
      { METRICS_KEYS: 'sEcReT-one,' },
      'METRICS_KEYS: found a key that is empty or holds a space, expected comma-separated keys of printable characters.',
    ],
    [
      { API_KEYS: 'one,ops=sEcReT', READ_KEYS: 'wall=sEcReT' },
      'READ_KEYS: found a key that stands in API_KEYS too, expected each key in one list.',
    ],
    [{ API_KEYS: 'sEcReT,ops=sEcReT' }, 'API_KEYS: found one key twice, expected each key once.'],
    ...['Ops=sEcReT', '=sEcReT', 'sEc.ReT=x', '==', `${'n'.repeat(41)}=sEcReT`].map(
      (entry): [Record<string, string>, string] => [
        { READ_KEYS: entry },
        'READ_KEYS: found a key with a = before its end, and what stands before that is no name, expected name=key, the name of 1 to 40 small letters, digits and dashes; or a key without such a =.',
      ],
    ),
  ])('%j', (environment, message) => {
    expect(mistakeIn(environment).message).toBe(message)
  })

  it.each<[string, string]>([
    ['{"apiKey":"sEcReT-one",}', ': found 24 characters that are not JSON, expected a JSON array of accounts.'],
    ['sEcReT-one', ': found 10 characters that are not JSON, expected a JSON array of accounts.'],
    ['{"apiKey":"sEcReT-one"}', ': found JSON that is not an array, expected a JSON array of accounts.'],
    ['null', ': found JSON that is not an array, expected a JSON array of accounts.'],
    ['["sEcReT-one"]', '[0]: found a text of 10 characters, expected an account {"name","provider",…}.'],
    ['[null]', '[0]: found null, expected an account {"name","provider",…}.'],
    ['[[]]', '[0]: found a list, expected an account {"name","provider",…}.'],
    ['[{}]', '[0].provider: found nothing, expected one of <providers>.'],
    [accounts({ provider: 'acme' }), '[0].provider: found "acme", expected one of <providers>.'],
    [accounts({ provider: 7 }), '[0].provider: found 7, expected one of <providers>.'],
    [accounts({}, { name: 'b', provider: null }), '[1].provider: found null, expected one of <providers>.'],
    [accounts({ apiKey: undefined }), '[0].apiKey: found nothing, expected string.'],
    [accounts({ apiKey: 4_711_081_512 }), '[0].apiKey: found a number, expected string.'],
    [
      accounts({ apiKey: '' }),
      '[0].apiKey: found a text of 0 characters, expected printable characters without spaces.',
    ],
    [
      accounts({ apiKey: 'sEcReT two' }),
      '[0].apiKey: found a text of 10 characters, expected printable characters without spaces.',
    ],
    [accounts({ name: undefined }), '[0].name: found nothing, expected string.'],
    [
      accounts({ name: 'Main account' }),
      '[0].name: found "Main account", expected 1 to 40 lower-case letters, digits and hyphens.',
    ],
    [
      accounts({ name: 'x'.repeat(41) }),
      `[0].name: found "${'x'.repeat(41)}", expected 1 to 40 lower-case letters, digits and hyphens.`,
    ],
    [accounts({ name: '' }), '[0].name: found "", expected 1 to 40 lower-case letters, digits and hyphens.'],
    [accounts({}, {}), ': found two accounts named "main", expected a different name for each.'],
    [
      accounts({ webhookToken: [] }),
      '[0].webhookToken: found a list, expected 1 to 200 letters, digits, hyphens and underscores, or a list of such.',
    ],
    [
      accounts({ callback: { url: 'https://u:sEcReT@app.example.com', secret: CALLBACK_SECRET } }),
      '[0].callback.url: found a text of 32 characters, expected a URL without a user name and password.',
    ],
    [
      accounts({ webhookToken: 'sEcReT.token' }),
      '[0].webhookToken: found a text of 12 characters, expected 1 to 200 letters, digits, hyphens and underscores.',
    ],
    [
      accounts({ baseUrl: '//u:sEcReT-in-a-url@gateway' }),
      '[0].baseUrl: found a text of 27 characters, expected a URL that begins with http:// or https://.',
    ],
    [
      accounts({ baseUrl: 'ftp://u:sEcReT-in-a-url@gateway' }),
      '[0].baseUrl: found a text of 31 characters, expected a URL that begins with http:// or https://.',
    ],
    [accounts({ query: 'both' }), '[0].query: found "both", expected one of <queries>.'],
    [accounts({ batchSize: 0 }), '[0].batchSize: found 0, expected number to be >=1.'],
    [accounts({ batchSize: 1001 }), '[0].batchSize: found 1001, expected number to be <=1000.'],
    [accounts({ batchSize: 1.5 }), '[0].batchSize: found 1.5, expected int.'],
    [accounts({ batchSize: '100' }), '[0].batchSize: found "100", expected number.'],
    [accounts({ requestsPerSecond: 0 }), '[0].requestsPerSecond: found 0, expected number to be >=0.01.'],
    [accounts({ timeout: '10' }), '[0].timeout: found "10", expected a duration like 500ms, 30s, 5m, 6h or 30d.'],
    [accounts({ timeout: 10 }), '[0].timeout: found 10, expected string.'],
    [
      accounts({ polling: { firstAfter: '0s' } }),
      '[0].polling.firstAfter: found "0s", expected a duration like 500ms, 30s, 5m, 6h or 30d.',
    ],
    [accounts({ polling: { factor: 0.5 } }), '[0].polling.factor: found 0.5, expected number to be >=1.'],
    [accounts({ polling: 'fast' }), '[0].polling: found a text of 4 characters, expected object.'],
    [
      accounts({ polling: { firstAfter: '2d', window: '1d' } }),
      '[0].polling: found an object, expected firstAfter to be shorter than window.',
    ],
    [
      accounts({ polling: { policy: 'learned', factor: 3, maxInterval: '1h' } }),
      '[0].polling: found an object, expected factor and maxInterval with "policy": "exponential" only; leave out one or the other.',
    ],
    [
      accounts({ polling: { policy: 'exponential', price: '5m' } }),
      '[0].polling: found an object, expected price with "policy": "learned" only; leave out one or the other.',
    ],
    [
      accounts({ polling: { price: '5m', firstAfter: '1m' } }),
      '[0].polling: found an object, expected price with "policy": "learned" only; leave out one or the other.',
    ],
    [
      accounts({ polling: { price: 'cheap' } }),
      '[0].polling.price: found "cheap", expected a duration like 500ms, 30s, 5m, 6h or 30d.',
    ],
    [
      accounts({ polling: { policy: 'random' } }),
      '[0].polling.policy: found "random", expected one of "learned"|"exponential".',
    ],
    [
      accounts({ callback: { url: '//app/sEcReT-in-a-url', secret: CALLBACK_SECRET } }),
      '[0].callback.url: found a text of 21 characters, expected a URL that begins with http:// or https://.',
    ],
    [
      accounts({ callback: { url: 'ftp://app/sEcReT-in-a-url', secret: CALLBACK_SECRET } }),
      '[0].callback.url: found a text of 25 characters, expected a URL that begins with http:// or https://.',
    ],
    [
      accounts({ callback: { url: 'https://app.example.com' } }),
      '[0].callback.secret: found nothing, expected whsec_ and at least 24 bytes in base64, or a list of such.',
    ],
    [
      accounts({ callback: { secret: 'sEcReT-one' } }),
      '[0].callback.secret: found a text of 10 characters, expected whsec_ and at least 24 bytes in base64.',
    ],
    [
      accounts({ callback: { secret: 'whsec_c0VjUmVU' } }),
      '[0].callback.secret: found a text of 14 characters, expected whsec_ and at least 24 bytes in base64.',
    ],
    [
      accounts({ callback: { secret: CALLBACK_SECRET, events: 'none' } }),
      '[0].callback.events: found "none", expected one of "all"|"final".',
    ],
    [
      accounts({
        callback: {
          secret: CALLBACK_SECRET,
          endpoints: [{ url: 'https://t.example?sEcReT', secret: CALLBACK_SECRET }],
        },
      }),
      '[0].callback.endpoints.0.url: found a text of 24 characters, expected a URL without a query.',
    ],
    [
      accounts({
        callback: { secret: CALLBACK_SECRET, endpoints: [{ url: 'https://t.example', secret: 'sEcReT-one' }] },
      }),
      '[0].callback.endpoints.0.secret: found a text of 10 characters, expected whsec_ and at least 24 bytes in base64.',
    ],
    [
      accounts({
        callback: {
          secret: CALLBACK_SECRET,
          endpoints: ['a', 'a'].map((path) => ({ url: `https://t.example/${path}`, secret: CALLBACK_SECRET })),
        },
      }),
      '[0].callback.endpoints: found a list, expected each URL once.',
    ],
    [
      accounts({ callback: { secret: CALLBACK_SECRET, retries: 3 } }),
      '[0].callback: found the unknown "retries", expected known fields only.',
    ],
    [
      accounts({ callback: 'https://sEcReT-in-a-url' }),
      '[0].callback: found a text of 23 characters, expected object.',
    ],
    [
      accounts({ changesQueue: 'sms changes' }),
      '[0].changesQueue: found a text of 11 characters, expected a queue name of letters, digits, dots, hyphens and underscores.',
    ],
    [
      accounts({ changesQueue: '' }),
      '[0].changesQueue: found a text of 0 characters, expected a queue name of letters, digits, dots, hyphens and underscores.',
    ],
    ...['track', 'dispatch', 'expire', 'callbacks', 'status-query.main'].map((name): [string, string] => [
      accounts({ changesQueue: name }),
      `[0].changesQueue: found a text of ${name.length} characters, expected a name Lastword does not use itself.`,
    ]),
    [accounts({ apikey: 'sEcReT-one' }), '[0]: found the unknown "apikey", expected known fields only.'],
    [accounts({ a: 1, b: 2 }), '[0]: found the unknown "a", "b", expected known fields only.'],
    [accounts({ polling: { every: '5m' } }), '[0].polling: found the unknown "every", expected known fields only.'],
    [
      accounts({ apiKey: 'env:NO_SUCH_KEY' }),
      '[0].apiKey: found "env:NO_SUCH_KEY", expected the environment variable NO_SUCH_KEY to be set.',
    ],
    [
      accounts({ apiKey: 'env:EMPTY_KEY' }),
      '[0].apiKey: found "env:EMPTY_KEY", expected the environment variable EMPTY_KEY to be set.',
    ],
    [
      accounts({ polling: { window: 'env:NO_SUCH_KEY' } }),
      '[0].polling.window: found "env:NO_SUCH_KEY", expected the environment variable NO_SUCH_KEY to be set.',
    ],
    [
      accounts({ apiKey: 'env:BAD_KEY' }),
      '[0].apiKey: found a text of 10 characters, expected printable characters without spaces.',
    ],
  ])('accounts %s', (text, expected) => {
    const outside = { EMPTY_KEY: '', BAD_KEY: 'sEcReT two' }
    for (const [variable, value] of [['ACCOUNTS', text] as const, ['ACCOUNTS_FILE', fileOf(text)] as const]) {
      expect(inGeneral(mistakeIn({ ...outside, [variable]: value }).message)).toBe(variable + expected)
    }
  })

  it('takes a callback URL that is not https where private ones are allowed', () => {
    const text = accounts({ callback: { url: 'http://127.0.0.1:4000/sms', secret: CALLBACK_SECRET } })
    const [account] = readConfig({ CALLBACK_ALLOW_PRIVATE: 'true', ACCOUNTS: text }).accounts
    expect(account?.callback?.url).toBe('http://127.0.0.1:4000/sms')
  })

  it('names the file of accounts that cannot be read', () => {
    const path = join(directory, 'no-such-file.json')
    const found = `ENOENT when reading "${path}"`
    expect(mistakeIn({ ACCOUNTS_FILE: path }).message).toBe(
      `ACCOUNTS_FILE: found ${found}, expected the path of a readable file.`,
    )
    expect(mistakeIn({ ACCOUNTS_FILE: directory }).message).toContain('ACCOUNTS_FILE: found EISDIR')
  })

  it('names the file of a secret that cannot be read, is empty, or stands beside the variable itself', () => {
    const path = join(directory, 'no-such-file')
    const unreadable = `found ENOENT when reading "${path}", expected the path of a readable file.`
    expect(mistakeIn({ API_KEYS_FILE: path }).message).toBe(`API_KEYS_FILE: ${unreadable}`)
    expect(mistakeIn({ ACCOUNTS: accounts({ apiKey: `file:${path}` }) }).message).toBe(
      `ACCOUNTS[0].apiKey: ${unreadable}`,
    )
    const empty = fileOf('\n', 'secret')
    const nothing = `found nothing in "${empty}", expected a file with the value.`
    expect(mistakeIn({ API_KEYS_FILE: empty }).message).toBe(`API_KEYS_FILE: ${nothing}`)
    expect(mistakeIn({ ACCOUNTS: '[]', ACCOUNTS_FILE: fileOf('[]') }).message).toBe(
      'ACCOUNTS_FILE: found both ACCOUNTS and ACCOUNTS_FILE, expected one of them.',
    )
  })

  it("reads a client's key from a file, and no file that it does not need", () => {
    const file = fileOf('from-a-file\n', 'secret')
    const missing = join(directory, 'no-such-file')
    expect(readServiceLocation({}, { LASTWORD_API_KEY_FILE: file, API_KEYS_FILE: missing }).apiKey).toBe('from-a-file')
    expect(readServiceLocation({}, { API_KEYS_FILE: file, DATABASE_URL_FILE: missing }).apiKey).toBe('from-a-file')
  })

  it('tells no secret of a file', () => {
    expect(mistakeIn({ DATABASE_URL_FILE: fileOf('http://u:sEcReT-in-a-url@db', 'secret') }).message).toBe(
      'DATABASE_URL: found a URL that begins with http:, expected a URL that begins with postgres:// or postgresql://.',
    )
    expect(mistakeIn({ ACCOUNTS: accounts({ apiKey: `file:${fileOf('sEcReT two', 'secret')}` }) }).message).toBe(
      'ACCOUNTS[0].apiKey: found a text of 10 characters, expected printable characters without spaces.',
    )
  })
})

/** Providers and look-ups may be added: which there are is not what these rows are about. */
function inGeneral(message: string): string {
  return message
    .replace(/(\.provider: .*expected one of )seven(, \w+)*/, '$1<providers>')
    .replace(/(\.query: .*expected one of )"auto"(\|"\w+")*/, '$1<queries>')
}

describe('isLoopback', () => {
  it.each([
    ['127.0.0.1', true],
    ['127.8.9.1', true],
    ['::1', true],
    ['localhost', true],
    ['0.0.0.0', false],
    ['::', false],
    ['10.0.0.1', false],
    ['127.0.0.1.example.com', false],
    ['localhost.example.com', false],
    ['', false],
  ])('of %j is %j', (host, expected) => {
    expect(isLoopback(host)).toBe(expected)
  })
})
