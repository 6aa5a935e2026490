import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readPostgresUrl } from '../../src/urls/postgres.ts'
import { readRedisUrl } from '../../src/urls/redis.ts'

const postgres = (url: string) => readPostgresUrl('DATABASE_URL', url)
const redis = (url: string) => readRedisUrl('QUEUE_URL', url)

describe('a Postgres URL', () => {
  it.each([
    [
      'postgres://db',
      { hosts: [{ host: 'db', port: 5432 }], user: undefined, password: undefined, database: undefined },
    ],
    [
      'postgresql://u:p@db:6543/app',
      { hosts: [{ host: 'db', port: 6543 }], user: 'u', password: 'p', database: 'app' },
    ],
    ['postgres://u:a%40b%2Fc@db/app', { user: 'u', password: 'a@b/c' }],
    // As people write them who do not know that they must be encoded.
    ['postgres://u:a@b/c#d@db/app', { user: 'u', password: 'a@b/c#d', hosts: [{ host: 'db', port: 5432 }] }],
    ['postgres://u:100%@db/app', { password: '100%' }],
    [
      'postgres://a:1,b:2,c/app',
      {
        hosts: [
          ['a', 1],
          ['b', 2],
          ['c', 5432],
        ].map(([host, port]) => ({ host, port })),
      },
    ],
    ['postgres://[2001:db8::1]:7/app', { hosts: [{ host: '2001:db8::1', port: 7 }] }],
    [
      'postgres:///app?host=/var/run/postgresql',
      { hosts: [{ host: '/var/run/postgresql', port: 5432 }], database: 'app' },
    ],
    ['postgres://%2Fvar%2Frun/app', { hosts: [{ host: '/var/run', port: 5432 }] }],
    [
      'postgres:///app?host=a,b&port=1,2',
      {
        hosts: [
          { host: 'a', port: 1 },
          { host: 'b', port: 2 },
        ],
      },
    ],
    ['postgres://db/app?user=u&password=p%2Bq&dbname=other', { user: 'u', password: 'p+q', database: 'other' }],
    ['postgres://db?prepare=false', { prepare: false }],
    ['postgres://db?pgbouncer=true', { prepare: false }],
    ['postgres://db', { prepare: undefined, tls: 'off', warnings: [] }],
    [
      'postgres://db?options=endpoint%3Dep-1&search_path=a&lock_timeout=5s',
      { options: 'endpoint=ep-1', parameters: { search_path: 'a', lock_timeout: '5s' } },
    ],
    ['postgres://db?connect_timeout=0', { connectTimeoutS: undefined }],
    ['postgres://db?connect_timeout=9', { connectTimeoutS: 9 }],
    ['postgres://db?sslmode=disable', { tls: 'off' }],
    ['postgres://db?sslmode=prefer', { tls: 'preferred', tlsOptions: { rejectUnauthorized: false } }],
    ['postgres://db?sslmode=require', { tls: 'required', tlsOptions: { rejectUnauthorized: false } }],
    ['postgres://db?sslmode=no-verify', { tls: 'required', tlsOptions: { rejectUnauthorized: false } }],
    ['postgres://db?sslmode=verify-full', { tls: 'required', tlsOptions: { rejectUnauthorized: true } }],
    ['postgres://db?ssl=true', { tls: 'required', tlsOptions: { rejectUnauthorized: true } }],
    ['postgres://db?ssl=false', { tls: 'off' }],
    ['postgres://db?sslrootcert=system', { tls: 'required', tlsOptions: { rejectUnauthorized: true } }],
  ])('is read by one rule: %s', (url, expected) => {
    expect(postgres(url)).toMatchObject(expected)
  })

  it('names what it passes over', () => {
    const { warnings } = postgres('postgres://db?schema=public&connection_limit=5&channel_binding=require&timezone=UTC')
    expect(warnings.map((text) => /^DATABASE_URL: "(\w+)" is ignored: .*\.$/.exec(text)?.[1])).toEqual([
      'schema',
      'connection_limit',
      'channel_binding',
      'timezone',
    ])
  })

  it.each([
    ['mysql://db', /text that is not a URL/],
    ['postgres://db:0/app', /a port that is none/],
    ['postgres://db:99999/app', /a port that is none/],
    ['postgres://db?colour=red', /the unknown parameter "colour"/],
    ['postgres://u:pa?sEcReT@db/app', /a question mark before the @, expected a password that has %3F in its place/],
    ['postgres://db?sslcrl=/x', /the parameter "sslcrl", expected a URL without it, because revocation lists/],
    ['postgres://db?sslmode=maybe', /sslmode=maybe, expected one of disable/],
    ['postgres://db?sslmode=verify-full&sslrootcert=/nowhere', /ENOENT when reading sslrootcert=\/nowhere/],
    ['postgres://db?target_session_attrs=standby', /target_session_attrs=standby, expected read-write/],
    ['postgres://db?connect_timeout=soon', /connect_timeout=soon, expected a number of seconds/],
  ])('is refused in a sentence: %s', (url, message) => {
    expect(() => postgres(url)).toThrow(message)
    expect(() => postgres(url)).toThrow(/^DATABASE_URL: found .*, expected .*\.$/)
  })

  it('gives back any user, password and database that was encoded, and tells none of them', () => {
    const text = fc.string({ unit: 'grapheme', minLength: 1 })
    fc.assert(
      fc.property(text, text, text, (user, password, database) => {
        const [u, p, d] = [user, password, database].map(encodeURIComponent)
        expect(postgres(`postgres://${u}:${p}@db:1/${d}`)).toMatchObject({ user, password, database })
        const unknown = () => postgres(`postgres://${u}:secret-${p}@db:1/${d}?colour=red`)
        expect(unknown).toThrow(/colour/)
        expect(unknown).not.toThrow(/secret-/)
      }),
    )
  })
})

describe('a Redis URL', () => {
  const plain = { isCluster: false, username: undefined, password: undefined, database: 0, tls: undefined }
  it.each([
    ['redis://', { ...plain, nodes: [{ host: '127.0.0.1', port: 6379 }] }],
    ['redis://cache:7000/3', { ...plain, nodes: [{ host: 'cache', port: 7000 }], database: 3 }],
    ['redis://:word@cache', { ...plain, nodes: [{ host: 'cache', port: 6379 }], password: 'word' }],
    ['redis://u:p%40q@[::1]:1', { ...plain, nodes: [{ host: '::1', port: 1 }], username: 'u', password: 'p@q' }],
    [
      'redis://cache?db=2&protocol=3&socket_timeout=5',
      { ...plain, nodes: [{ host: 'cache', port: 6379 }], database: 2 },
    ],
    ['rediss://cache', { ...plain, nodes: [{ host: 'cache', port: 6379 }], tls: {} }],
    [
      'rediss://cache?ssl_cert_reqs=none',
      { ...plain, nodes: [{ host: 'cache', port: 6379 }], tls: { rejectUnauthorized: false } },
    ],
    [
      'redis+cluster://a:1,b',
      {
        ...plain,
        isCluster: true,
        nodes: [
          { host: 'a', port: 1 },
          { host: 'b', port: 6379 },
        ],
      },
    ],
    ['rediss+cluster://a', { ...plain, isCluster: true, nodes: [{ host: 'a', port: 6379 }], tls: {} }],
  ])('is read by one rule: %s', (url, expected) => {
    expect(redis(url)).toEqual(expected)
  })

  it.each([
    ['redis:/cache', /text that is not a URL/],
    ['redis://cache/x', /a database that is no number/],
    ['redis+cluster://a/1', /database 1, expected none/],
    ['redis://cache?colour=red', /the unknown parameter "colour"/],
    ['redis://u:pa?sEcReT@cache', /a question mark before the @, expected a password that has %3F in its place/],
    ['rediss://cache?sslrootcert=/nowhere', /ENOENT when reading \/nowhere/],
    ['redis://cache:99999', /a host that is none/],
  ])('is refused in a sentence: %s', (url, message) => {
    expect(() => redis(url)).toThrow(message)
    expect(() => redis(url)).toThrow(/^QUEUE_URL: found .*, expected .*\.$/)
  })
})
