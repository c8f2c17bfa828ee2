// The licenses of all that is inside the bundle, for the package's copyright file.
import { readdirSync, readFileSync } from 'node:fs'

/** The folders of the packages among the files that the bundle was made of. */
function packageFolders(inputs) {
  const folders = inputs.flatMap((file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? [])
  return [...new Set(folders)].sort()
}

/** A bill of materials in SPDX 2.3 form. `seconds` is its time, so that the same sources give the same bytes. */
export function billOf(inputs, version, seconds, name = 'pvenat') {
  const root = { SPDXID: `SPDXRef-${name}`, name, versionInfo: version, licenseDeclared: 'MIT' }
  const parts = packageFolders(inputs).map((folder) => {
    const { name, version: versionInfo, license } = JSON.parse(readFileSync(`${folder}/package.json`, 'utf8'))
    const id = `SPDXRef-${name.replace(/[^A-Za-z0-9.]+/g, '-')}-${versionInfo}`
    const locator = `pkg:npm/${name.replace('@', '%40')}@${versionInfo}`
    const externalRefs = [
      { referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: locator },
    ]
    return { SPDXID: id, name, versionInfo, licenseDeclared: license, externalRefs }
  })
  const bill = {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: `${name}-${version}`,
    documentNamespace: `urn:${name}:sbom:${version}:${seconds}`,
    creationInfo: {
      created: new Date(seconds * 1000).toISOString().replace('.000', ''),
      creators: ['Tool: pvenat-build'],
    },
    packages: [root, ...parts].map((one) => ({
      ...one,
      downloadLocation: 'NOASSERTION',
      filesAnalyzed: false,
    })),
    relationships: [
      { spdxElementId: 'SPDXRef-DOCUMENT', relationshipType: 'DESCRIBES', relatedSpdxElement: root.SPDXID },
      ...parts.map(({ SPDXID }) => ({
        spdxElementId: root.SPDXID,
        relationshipType: 'CONTAINS',
        relatedSpdxElement: SPDXID,
      })),
    ],
  }
  return `${JSON.stringify(bill, undefined, 2)}\n`
}

/** `inputs` are the files that the bundle was made of. */
export function copyrightOf(inputs) {
  return [
    `pvenat is under this license:\n\n${readFileSync('LICENSE', 'utf8')}`,
    'These packages of the npm registry are inside its program, each under its own license:\n',
    ...packageFolders(inputs).map(licenseOf),
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
