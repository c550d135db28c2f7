// Makes time-page.wasm of app.js and the contract in wit/.
import { writeFile } from 'node:fs/promises';
import { componentize } from '@bytecodealliance/componentize-js';

const { component } = await componentize({
  sourcePath: 'app.js',
  witPath: 'wit',
  worldName: 'plugin',
  // It is called by the host, and takes no requests itself.
  disableFeatures: ['fetch-event'],
});
await writeFile('time-page.wasm', component);
