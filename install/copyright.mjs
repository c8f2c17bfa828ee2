// The licenses of all that is inside the bundle, for the package's copyright file.
import { readdirSync, readFileSync } from 'node:fs'

/** `inputs` are the files that the bundle was made of. */
export function copyrightOf(inputs) {
  const folders = inputs.flatMap((file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? [])
  return [
    `pvenat is under this license:\n\n${readFileSync('LICENSE', 'utf8')}`,
    'These packages of the npm registry are inside its program, each under its own license:\n',
    ...[...new Set(folders)].sort().map(licenseOf),
  ].join('\n')
}

function licenseOf(folder) {
  const { name, version, license } = JSON.parse(readFileSync(`${folder}/package.json`, 'utf8'))
  const file = readdirSync(folder).find((one) => /^licen[cs]e/i.test(one))
  const text =
    license === 'Apache-2.0' || file === undefined
      ? `License: ${license}; its text is in /usr/share/common-licenses/${license}.\n`
      : readFileSync(`${folder}/${file}`, 'utf8')
  return `${name} ${version}\n\n${text.replace(/^(?=.)/gm, '  ')}`
}
