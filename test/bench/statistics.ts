/** What is said of several measured values: the median, and between which values the middle half of them lies. */

export interface Summary {
  median: number
  /** A quarter of the values is at or below. */
  low: number
  /** A quarter of the values is at or above. */
  high: number
}

/** Values must not be empty; between two values it is interpolated. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  const place = share * (sorted.length - 1)
  const below = sorted[Math.floor(place)]
  const above = sorted[Math.ceil(place)]
  if (below === undefined || above === undefined) throw new Error('expected values, got none')
  return below + (above - below) * (place - Math.floor(place))
}

export function summarise(values: readonly number[]): Summary {
  return { median: quantile(values, 0.5), low: quantile(values, 0.25), high: quantile(values, 0.75) }
}

/**
 * Value by value, for what was measured in turn in the same rounds: what slowed one round down slowed both. Of lists that are
 * not of the same length (the rounds were not the same) it is the ratio of the medians.
 */
export function ratios(values: readonly number[], base: readonly number[]): number[] {
  if (values.length !== base.length) return [quantile(values, 0.5) / quantile(base, 0.5)]
  return values.map((value, i) => value / (base[i] ?? NaN))
}
