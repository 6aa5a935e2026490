/** Plots as SVG text: small panels side by side, each with its own scale from zero up, x by powers of ten. */
import { roundFigure } from './table.ts'

export interface Panel {
  title: string
  unit: string
  points: { x: number; y: number }[]
}

const COLUMNS = 2
const PANEL = { width: 360, height: 150 }
const PLOT = { left: 60, right: 20, top: 34, bottom: 28 }
const HEAD = 56
const LINE = '#1f6feb'
const TEXT = '#24292f'
const FAINT = '#8c959f'

export function drawPanels({ title, note, panels }: { title: string; note: string; panels: readonly Panel[] }): string {
  const width = COLUMNS * PANEL.width
  const height = HEAD + Math.ceil(panels.length / COLUMNS) * PANEL.height
  const drawn = panels.map((panel, index) => {
    const x = (index % COLUMNS) * PANEL.width
    const y = HEAD + Math.floor(index / COLUMNS) * PANEL.height
    return `<g transform="translate(${x} ${y})">\n${drawPanel(panel)}\n</g>`
  })
  const frame = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${frame} font-family="system-ui, sans-serif" font-size="11">`,
    `<title>${escapeText(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="16" y="24" font-size="15" font-weight="600" fill="${TEXT}">${escapeText(title)}</text>`,
    `<text x="16" y="42" fill="${FAINT}">${escapeText(note)}</text>`,
    ...drawn,
    '</svg>\n',
  ].join('\n')
}

function drawPanel({ title, unit, points }: Panel): string {
  const top = niceCeiling(Math.max(...points.map(({ y }) => y)))
  const xs = points.map(({ x }) => Math.log10(x))
  const [first, last] = [Math.min(...xs), Math.max(...xs)]
  const innerWidth = PANEL.width - PLOT.left - PLOT.right
  const innerHeight = PANEL.height - PLOT.top - PLOT.bottom
  const atX = (x: number) => PLOT.left + ((Math.log10(x) - first) / (last - first || 1)) * innerWidth
  const atY = (y: number) => PLOT.top + (1 - Math.max(y, 0) / top) * innerHeight
  const position = ({ x, y }: { x: number; y: number }) => `${atX(x).toFixed(1)},${atY(y).toFixed(1)}`
  const grid = [0, top / 2, top].flatMap((y) => [
    `<path d="M${PLOT.left} ${atY(y)}H${PANEL.width - PLOT.right}" stroke="#d0d7de"/>`,
    `<text x="${PLOT.left - 6}" y="${atY(y) + 4}" text-anchor="end" fill="${FAINT}">${shorten(y)}</text>`,
  ])
  const marks = points.flatMap((point) => [
    `<circle cx="${atX(point.x)}" cy="${atY(point.y)}" r="3" fill="${LINE}"/>`,
    `<text x="${atX(point.x)}" y="${PANEL.height - 12}" text-anchor="middle" fill="${FAINT}">${shorten(point.x)}</text>`,
  ])
  return [
    `<text x="${PLOT.left}" y="20" font-weight="600" fill="${TEXT}">${escapeText(title)}, ${escapeText(unit)}</text>`,
    ...grid,
    `<polyline points="${points.map(position).join(' ')}" fill="none" stroke="${LINE}" stroke-width="2"/>`,
    ...marks,
  ].join('\n')
}

/** The next of 1, 2, 5, 10 … */
function niceCeiling(value: number): number {
  if (!(value > 0)) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10) * power
}

function shorten(value: number): string {
  if (value >= 1e6) return `${roundFigure(value / 1e6)}M`
  return value >= 1e3 ? `${roundFigure(value / 1e3)}k` : roundFigure(value)
}

function escapeText(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;')
}
