/** The chart of `lastword simulate` as SVG: requests and delay of every way of asking, a panel for each traffic. */
import type { Point } from './comparison.ts'

const PANEL = { width: 460, height: 300, left: 56, right: 16, top: 38, bottom: 40 }
const COLUMNS = 2
const HEAD = 84
const INK = '#24292f'
const FAINT = '#8c959f'
const GRID = '#d8dee4'

/** The look of each way of asking; the points of one name at several prices are joined by a line. */
const SERIES: readonly { name: string; prefix: string; color: string }[] = [
  { name: 'exponential, as in 0.1.0', prefix: 'exponential', color: '#cf222e' },
  { name: 'exponential, filled', prefix: 'exponential, filled', color: '#bc4c00' },
  { name: 'fixed interval', prefix: 'fixed', color: '#8250df' },
  { name: 'learned, by three prices', prefix: 'learned', color: '#0969da' },
  { name: 'full knowledge of the law', prefix: 'full knowledge', color: '#1a7f37' },
]

export function drawChart(points: readonly Point[], title: string): string {
  const drawn = points.filter(({ law, figures }) => law === 'the prior' && figures.mean > 0 && figures.requests > 0)
  const traffics = [...new Set(drawn.map(({ perSecond }) => perSecond))]
  const width = COLUMNS * PANEL.width
  const height = HEAD + Math.ceil(traffics.length / COLUMNS) * PANEL.height
  const panels = traffics.map((perSecond, index) => {
    const [x, y] = [(index % COLUMNS) * PANEL.width, HEAD + Math.floor(index / COLUMNS) * PANEL.height]
    const own = drawn.filter((point) => point.perSecond === perSecond)
    return `<g transform="translate(${x} ${y})">\n${drawPanel(own, `${perSecond} ${perSecond === 1 ? 'message' : 'messages'} a second`)}\n</g>`
  })
  const legend = SERIES.map(({ name, color }, index) => {
    const x = 16 + index * 180
    return `<circle cx="${x + 5}" cy="62" r="5" fill="${color}"/><text x="${x + 15}" y="66" fill="${INK}">${name}</text>`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12">`,
    `<title>${title}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="16" y="24" font-size="15" font-weight="600" fill="${INK}">${title}</text>`,
    `<text x="16" y="43" fill="${FAINT}">Further left: fewer requests. Further down: known sooner. Both scales are logarithmic.</text>`,
    ...legend,
    ...panels,
    '</svg>\n',
  ].join('\n')
}

function drawPanel(points: readonly Point[], title: string): string {
  const x = scaleOf(
    points.map(({ figures }) => figures.requests),
    PANEL.left,
    PANEL.width - PANEL.right,
  )
  const y = scaleOf(
    points.map(({ figures }) => figures.mean),
    PANEL.height - PANEL.bottom,
    PANEL.top,
  )
  const [right, bottom] = [PANEL.width - PANEL.right, PANEL.height - PANEL.bottom]
  const grid = [
    ...x.ticks.flatMap((tick) => [
      `<path d="M${x.at(tick)} ${PANEL.top}V${bottom}" stroke="${GRID}"/>`,
      `<text x="${x.at(tick)}" y="${bottom + 16}" text-anchor="middle" fill="${FAINT}">${tick}</text>`,
    ]),
    ...y.ticks.flatMap((tick) => [
      `<path d="M${PANEL.left} ${y.at(tick)}H${right}" stroke="${GRID}"/>`,
      `<text x="${PANEL.left - 6}" y="${y.at(tick) + 4}" text-anchor="end" fill="${FAINT}">${tick} s</text>`,
    ]),
  ]
  const series = SERIES.flatMap(({ prefix, color }) => {
    const own = points
      .filter(({ planner }) => (prefix === 'exponential' ? planner === prefix : planner.startsWith(prefix)))
      .sort((a, b) => a.figures.requests - b.figures.requests)
    const places = own.map(({ figures }) => `${x.at(figures.requests)},${y.at(figures.mean)}`)
    const line = `<polyline points="${places.join(' ')}" fill="none" stroke="${color}" stroke-width="2"/>`
    const dots = own.map(({ figures, planner }) => {
      const [cx, cy] = [x.at(figures.requests), y.at(figures.mean)]
      // Full knowledge is a ring around what learning reaches.
      const look =
        prefix === 'full knowledge' ? `r="8" fill="none" stroke="${color}" stroke-width="2"` : `r="5" fill="${color}"`
      return `<circle cx="${cx}" cy="${cy}" ${look}><title>${planner}</title></circle>`
    })
    return own.length > 1 ? [line, ...dots] : dots
  })
  return [
    `<text x="${PANEL.left}" y="24" font-weight="600" fill="${INK}">${title}</text>`,
    ...grid,
    ...series,
    `<text x="${right}" y="${PANEL.height - 6}" text-anchor="end" fill="${FAINT}">requests a message</text>`,
    `<text x="${PANEL.left + 4}" y="${PANEL.top + 12}" fill="${FAINT}">mean delay</text>`,
  ].join('\n')
}

/** A logarithmic scale from `low` to `high` pixels, with a tick at every power of ten and at 2 and 5 where it is short. */
function scaleOf(values: readonly number[], low: number, high: number) {
  const [least, most] = [Math.log10(Math.min(...values)) - 0.15, Math.log10(Math.max(...values)) + 0.15]
  const at = (value: number) => Math.round(low + ((Math.log10(value) - least) / (most - least)) * (high - low))
  const steps = most - least > 2.5 ? [1] : [1, 2, 5]
  const powers = Array.from({ length: 16 }, (_, index) => index - 6)
  const ticks = powers
    .flatMap((power) => steps.map((step) => Number((step * 10 ** power).toPrecision(1))))
    .filter((tick) => Math.log10(tick) >= least && Math.log10(tick) <= most)
  return { at, ticks }
}
