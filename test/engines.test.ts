// Debian 12 has Node.js 18: what is installed for the product and its tests must run there, or `sh test/run.sh` fails on it.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

type Lock = { packages: Record<string, { engines?: { node?: string }; optional?: true }> }
const OLDEST = [18, 19, 0]
/** Packages of eslint that ask for a newer one, and run on this one. */
const RUN_ALL_THE_SAME = ['brace-expansion', 'minimatch', 'eslint-visitor-keys']

/** Whether a range of npm, such as `^18.18.0 || >=20.9.0`, holds the version; comparisons of whole versions alone are known. */
function allows(range: string, version: readonly number[]): boolean {
  return range.split('||').some((part) =>
    part
      .trim()
      .replaceAll(/(>=|<=|<|>) +/g, '$1')
      .split(/ +/)
      .every((one) => {
        const [, sign = '', text = ''] = /^(>=|<|\^|~|)v?([\d.]+|\*)(?:\.x)*$/.exec(one) ?? [, '?', one]
        if (sign === '?') throw new Error(`not understood: ${range}`)
        if (text === '*') return true
        const bound = text.split('.').map(Number)
        const place = [0, 1, 2].find((i) => version[i] !== (bound[i] ?? 0))
        const isAtLeast = place === undefined || (version[place] ?? 0) > (bound[place] ?? 0)
        if (sign === '>=') return isAtLeast
        if (sign === '<') return !isAtLeast
        return isAtLeast && version[0] === bound[0]
      }),
  )
}

test('every package runs on the oldest Node.js', () => {
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as Lock
  const ranges = Object.entries(packages).map(([path, { engines }]) => [path, engines?.node ?? '*'] as const)
  expect(ranges.length).toBeGreaterThan(100)
  const failing = ranges.filter(([, range]) => !allows(range, OLDEST)).map(([path]) => path)
  expect(failing.filter((path) => !RUN_ALL_THE_SAME.some((name) => path.endsWith(`/${name}`)))).toEqual([])
})
