/**
 * The ledger: compares what is known at the end of a run with the provider's truth and with itself, message by message.
 * It has no I/O, and knows nothing of the faults.
 */
import type { FinalStatus, Status } from '../../src/core/status.ts'

/** One change, as it was told: its status, and when it was made in milliseconds since 1970. */
export type Told = `${Status}@${number}`

/** Everything that is known of one message. */
export interface Entry {
  account: string
  messageId: string
  recipient: string
  sentAt: number
  /**
   * The final statuses of its true history, in order, each under every name by which the provider tells it, with the time
   * as it is told, and whether a receipt of it was acknowledged; empty where truth never came.
   */
  finals: readonly { statuses: readonly FinalStatus[]; at: number; acknowledged: boolean }[]
  /** Receipts that were answered 2xx, by the provider's word. */
  receipts: Readonly<Record<string, number>>
  /** When the provider was asked about it by its ID. */
  askedAt: readonly number[]
  /** Its row; undefined where there is none. */
  row: { status: Status | null; final: boolean } | undefined
  /** Its changes in the order of their positions. */
  changes: readonly Change[]
  /** Reports from webhooks in the database, by the provider's word. */
  reports: Readonly<Record<string, number>>
  /** The times for which batches held it. */
  claims: readonly { from: number; to: number }[]
  told: Readonly<Record<Teller, readonly Told[]>>
}

export interface Change {
  status: Status
  previousStatus: Status | null
  at: number
  final: boolean
}

export const TELLERS = ['feed', 'callback', 'queue'] as const
export type Teller = (typeof TELLERS)[number]
/** The names of the accounts whose changes are told in each way that not every account has; the feed tells of all. */
export type Tells = Readonly<Record<Exclude<Teller, 'feed'>, readonly string[]>>

export const FINDINGS = [
  'wrong status',
  'not tracked',
  'broken chain of changes',
  'change untold',
  'told out of order',
  'told what did not happen',
  'asked after it was known',
  'asked without a claim',
  'in two batches at once',
  'acknowledged receipt lost',
  'left of an erased person',
  'number in a log',
  'process ended by itself',
  'process did not stop well',
] as const

export interface Finding {
  kind: (typeof FINDINGS)[number]
  /** The message or place, and the particulars. */
  about: string
  /** When it happened, as far as is known, in milliseconds since 1970. */
  at?: number | undefined
}

export interface Circumstances {
  /** The accounts whose changes were to be told in each way. */
  tells: Tells
  /** Until when changes may be missing from the app's queue, because Redis lost what it held: documented. */
  queueLostUntil: number
  /** From when on claims were written down. */
  watchedFrom: number
}

/** Between a final status and the moment at which its commit is seen, clocks of two programs and a busy disk. */
const COMMIT_MS = 1_000

export function judge(entry: Entry, circumstances: Circumstances): Finding[] {
  const about = `${entry.account} ${entry.messageId} …${entry.recipient.slice(-2)}`
  if (!entry.row) return [{ kind: 'not tracked', about, at: entry.sentAt }]
  const { tells } = circumstances
  const tellers = TELLERS.filter((teller) => teller === 'feed' || tells[teller].includes(entry.account))
  return [
    ...judgeStatus(entry),
    ...judgeChain(entry),
    ...tellers.flatMap((teller) => judgeTold(entry, teller, circumstances)),
    ...judgeAsked(entry, circumstances),
    ...judgeClaims(entry),
    ...judgeReceipts(entry),
  ].map((finding) => ({ ...finding, about: `${about}: ${finding.about}` }))
}

/** A later final corrects an earlier one only where somebody told of it: nobody asks any more. And it must be told as later. */
function judgeStatus({ finals, row, sentAt }: Entry): Finding[] {
  const last = finals.at(-1)
  const isLast = last?.acknowledged && finals.slice(0, -1).every(({ at }) => at < last.at)
  const allowed = !last ? ['unknown'] : isLast ? last.statuses : finals.flatMap(({ statuses }) => statuses)
  if (row?.final && allowed.includes(row.status as FinalStatus)) return []
  return [{ kind: 'wrong status', about: `${row?.status}, expected ${allowed.join(' or ')}`, at: sentAt }]
}

function judgeChain({ changes, row, sentAt }: Entry): Finding[] {
  const statuses = [null, ...changes.map(({ status }) => status)]
  const isBroken = changes.some(({ previousStatus }, index) => previousStatus !== statuses[index])
  const fallsBack = changes.some(({ final }, index) => !final && changes[index - 1]?.final)
  if (!isBroken && !fallsBack && statuses.at(-1) === row?.status) return []
  const at = changes.at(-1)?.at ?? sentAt
  return [{ kind: 'broken chain of changes', about: `${statuses.join(' ')}, and the row says ${row?.status}`, at }]
}

function judgeTold({ changes, told }: Entry, teller: Teller, { queueLostUntil }: Circumstances): Finding[] {
  const expected = changes.map(toTold)
  const heard = told[teller]
  const findings: Finding[] = []
  for (const [index, change] of changes.entries()) {
    const isExcused = teller === 'queue' && change.at <= queueLostUntil
    if (heard.includes(expected[index] as Told) || isExcused) continue
    findings.push({ kind: 'change untold', about: `${change.status} by ${teller}`, at: change.at })
  }
  for (const one of heard) {
    if (!expected.includes(one)) findings.push({ kind: 'told what did not happen', about: `${one} by ${teller}` })
  }
  const places = heard.map((one) => expected.indexOf(one)).filter((place) => place >= 0)
  const firsts = places.filter((place, index) => places.indexOf(place) === index)
  const early = firsts.findIndex((place, index) => index > 0 && place < (firsts[index - 1] ?? 0))
  if (early >= 0) {
    const at = changes[firsts[early] ?? 0]?.at
    findings.push({ kind: 'told out of order', about: `${heard.join(' ')} by ${teller}`, at })
  }
  return findings
}

export function toTold({ status, at }: { status: Status; at: number }): Told {
  return `${status}@${at}`
}

/** A request belongs to the latest claim before it; one whose claim came after the final status was in vain. */
function judgeAsked({ askedAt, claims, changes }: Entry, { watchedFrom }: Circumstances): Finding[] {
  const knownAt = changes.find(({ final }) => final)?.at ?? Number.POSITIVE_INFINITY
  return askedAt.flatMap((at): Finding[] => {
    if (at < watchedFrom) return []
    const claimedAt = Math.max(...claims.filter(({ from }) => from <= at).map(({ from }) => from))
    if (claimedAt === Number.NEGATIVE_INFINITY) return [{ kind: 'asked without a claim', about: timeOf(at), at }]
    if (claimedAt <= knownAt + COMMIT_MS) return []
    const about = `known ${timeOf(knownAt)}, claimed ${timeOf(claimedAt)}, asked ${timeOf(at)}`
    return [{ kind: 'asked after it was known', about, at }]
  })
}

function judgeClaims({ claims }: Entry): Finding[] {
  const inOrder = [...claims].sort((a, b) => a.from - b.from)
  return inOrder.flatMap(({ from }, index): Finding[] => {
    const before = inOrder[index - 1]
    if (!before || before.to <= from) return []
    return [{ kind: 'in two batches at once', about: `${timeOf(before.from)} and ${timeOf(from)}`, at: from }]
  })
}

function judgeReceipts({ receipts, reports, sentAt }: Entry): Finding[] {
  return Object.entries(receipts).flatMap(([word, count]): Finding[] => {
    const kept = reports[word] ?? 0
    if (kept >= count) return []
    return [{ kind: 'acknowledged receipt lost', about: `${word}: ${count} acknowledged, ${kept} kept`, at: sentAt }]
  })
}

export function timeOf(ms: number): string {
  return Number.isFinite(ms) ? new Date(ms).toISOString().slice(11, 23) : 'never'
}
