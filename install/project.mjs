// The project's addresses, in this one place. They are placeholders until the project has a home: `.invalid` resolves nowhere.
export const MAINTAINER = 'the pvenat authors <maintainers@pvenat.invalid>'
/** Where `npm run release -- --base URL` says that the folder `dist/release` is served, unless told otherwise. */
export const BASE = 'https://pvenat.invalid'
