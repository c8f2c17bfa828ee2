// CHANGELOG.md, of which the package's changelog and the notes of a release are made.
import { MAINTAINER } from './project.mjs'

const WIDTH = 76

/** The sections `## VERSION (DATE)`, newest first; a date that is no date, such as "unreleased", is undefined. */
function sections(changelog) {
  return changelog
    .split(/^## /m)
    .slice(1)
    .map((text) => {
      const [, version, when] = /^(\S+)(?: \((.*)\))?/.exec(text)
      const items = text.split(/^- /m).slice(1)
      return {
        version,
        date: /^\d{4}-\d\d-\d\d$/.test(when ?? '') ? when : undefined,
        items: items.map((item) => item.replace(/\s+/g, ' ').trim()),
      }
    })
}

/** The section of a version; throws when there is none or it says nothing. */
export function sectionOf(changelog, version) {
  const section = sections(changelog).find((one) => one.version === version)
  if (!section || section.items.length === 0)
    throw new Error(`CHANGELOG.md says nothing of version ${version}`)
  return section
}

/** The same as Debian writes it. `seconds` stands for the date of a version that has none yet. */
export function debianChangelog(changelog, seconds) {
  return sections(changelog)
    .map(({ version, date, items }) => {
      const day = new Date(date === undefined ? seconds * 1000 : `${date}T00:00:00Z`)
      const said = items.map((item) => `  * ${wrap(item)}\n`).join('')
      const written = day.toUTCString().replace('GMT', '+0000')
      return `pvenat (${version}) unstable; urgency=medium\n\n${said}\n -- ${MAINTAINER}  ${written}\n`
    })
    .join('\n')
}

function wrap(text) {
  return text.replace(new RegExp(`(.{1,${WIDTH}})(?: |$)`, 'g'), '$1\n    ').trimEnd()
}
