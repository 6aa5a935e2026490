/** Charts as SVG, drawn on the server: they need no script, and take the colours of the page. */
import { scaleBand, scaleLinear, scaleLog } from 'd3-scale'
import { line, stack } from 'd3-shape'
import type { JSX } from 'preact'
import { compactOf, countOf, durationOf, percentOf } from './words.tsx'

const BOX = { width: 600, height: 200, left: 52, right: 8, top: 8, bottom: 24 }
const [RIGHT, BOTTOM] = [BOX.width - BOX.right, BOX.height - BOX.bottom]

/** One bar of several parts, by their names. */
export interface Bar {
  label: string
  /** Pointing at the bar shows it. */
  title: string
  parts: Readonly<Record<string, number>>
}

/** Bars side by side, each of the same parts one on the other. Every `nth` has its label below it. */
export function Bars({ bars, parts, nth, title }: { bars: Bar[]; parts: string[]; nth: number; title: string }) {
  const most = Math.max(1, ...bars.map((bar) => parts.reduce((sum, part) => sum + (bar.parts[part] ?? 0), 0)))
  const x = scaleBand(
    bars.map((_, index) => index),
    [BOX.left, RIGHT],
  ).padding(0.15)
  const y = scaleLinear([0, most], [BOTTOM, BOX.top]).nice(3)
  const layers = stack<Bar>()
    .keys(parts)
    .value((bar, part) => bar.parts[part] ?? 0)(bars)
  return (
    <Chart title={title}>
      <Rows ticks={y.ticks(3).filter(Number.isInteger)} at={y} format={compactOf} />
      {layers.map((layer) => (
        <g class={layer.key}>
          {layer.map(([from, to], index) => (
            <rect x={x(index)} y={y(to)} width={x.bandwidth()} height={y(from) - y(to)}>
              <title>{bars[index]?.title}</title>
            </rect>
          ))}
        </g>
      ))}
      {bars.map((bar, index) =>
        index % nth === 0 ? (
          <text x={(x(index) ?? 0) + x.bandwidth() / 2} y={BOX.height - 6} text-anchor="middle">
            {bar.label}
          </text>
        ) : null,
      )}
    </Chart>
  )
}

export interface CurvesProps {
  title: string
  /** Ages in seconds, each with a share. */
  learned: readonly (readonly [number, number])[]
  before: readonly (readonly [number, number])[]
  /** The ages at which a message is asked about where it is alone, and where requests are full. */
  alone: readonly number[]
  shared: readonly number[]
}

const AGES = [1, 10, 60, 600, 3_600, 6 * 3_600, 86_400, 7 * 86_400, 30 * 86_400]

/** The share of messages that are final by an age: as learned, and as it was taken to be before. */
export function Curves({ title, learned, before, alone, shared }: CurvesProps): JSX.Element {
  const x = scaleLog([1, 30 * 86_400], [BOX.left, RIGHT]).clamp(true)
  const y = scaleLinear([0, 1], [BOTTOM, BOX.top + 20])
  const draw = line<readonly [number, number]>()
    .defined(([age]) => age >= 1)
    .x(([age]) => x(age))
    .y(([, share]) => y(share))
  const marks = (ages: readonly number[], kind: string, height: number) =>
    ages
      .filter((age) => age >= 1)
      .map((age) => (
        <path class={`mark ${kind}`} d={`M${x(age)} ${height}l4 -8h-8z`}>
          <title>{`asked at ${durationOf(age)}`}</title>
        </path>
      ))
  return (
    <Chart title={title}>
      <Rows ticks={[0, 0.25, 0.5, 0.75, 1]} at={y} format={percentOf} />
      {AGES.map((age, index) => (
        <text
          x={x(age)}
          y={BOX.height - 6}
          text-anchor={index === 0 ? 'start' : index === AGES.length - 1 ? 'end' : 'middle'}
        >
          {durationOf(age)}
        </text>
      ))}
      <path class="line before" d={draw(before) ?? ''} />
      <path class="line" d={draw(learned) ?? ''} />
      {marks(alone, 'alone', BOX.top + 8)}
      {marks(shared, 'shared', BOX.top + 18)}
    </Chart>
  )
}

function Chart({
  title,
  children,
}: {
  title: string
  children: (JSX.Element | JSX.Element[] | (JSX.Element | null)[])[]
}) {
  return (
    <svg class="chart" viewBox={`0 0 ${BOX.width} ${BOX.height}`} role="img" aria-label={title}>
      {children}
    </svg>
  )
}

interface RowsProps {
  ticks: readonly number[]
  at(value: number): number
  format(value: number): string
}

function Rows({ ticks, at, format }: RowsProps): JSX.Element {
  return (
    <g>
      {ticks.map((tick) => (
        <>
          <path class="axis" d={`M${BOX.left} ${at(tick)}H${RIGHT}`} />
          <text x={BOX.left - 6} y={at(tick) + 4} text-anchor="end">
            {format(tick)}
          </text>
        </>
      ))}
    </g>
  )
}

/** Names for the colours of a chart. */
export function Legend({ parts }: { parts: readonly [kind: string, name: string][] }): JSX.Element {
  return (
    <div class="legend">
      {parts.map(([kind, name]) => (
        <span class={kind}>
          <i />
          {name}
        </span>
      ))}
    </div>
  )
}

/** A share as a bar with its number. */
export function titleOf(label: string, parts: Readonly<Record<string, number>>): string {
  const words = Object.entries(parts).map(([name, count]) => `${countOf(count)} ${name}`)
  return `${label}: ${words.join(', ')}`
}
