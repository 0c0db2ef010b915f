// Images in colour to train on: drawn portraits in eight styles, one folder per style, by DiceBear.
//
// Run it where the packages are, in a folder of its own:
//
//     npm install @dicebear/core@9.2.4 @dicebear/collection@9.2.4 @resvg/resvg-js@2.6.2
//     cp .../benchmarks/avatars.mjs . && node avatars.mjs avatars
//
// It writes 20,000 PNG files of 64 x 64 pixels. An avatar depends on its style and number alone. The styles and their
// licences: adventurer (Lisa Wischofsky, CC BY 4.0), big-smile (Ashley Seo, CC BY 4.0), dylan (Natalia Spivak,
// CC BY 4.0), micah (Micah Lanier, CC BY 4.0), miniavs (Webpixels, CC BY 4.0), open-peeps (Pablo Stanley, CC0 1.0),
// personas (Draftbit, CC BY 4.0), pixel-art (DiceBear, CC0 1.0).

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as collection from '@dicebear/collection';
import { createAvatar } from '@dicebear/core';
import { Resvg } from '@resvg/resvg-js';

const STYLES = ['adventurer', 'bigSmile', 'dylan', 'micah', 'miniavs', 'openPeeps', 'personas', 'pixelArt'];
const SIDE = 64; // pixels
const PER_STYLE = 2500;
const BACKGROUNDS = ['b6e3f4', 'c0aede', 'd1d4f9', 'ffd5dc', 'ffdfbf', 'c8e6c9', 'fff3c4', 'f4f4f4'];

const out = process.argv[2];
if (!out) {
  console.error('usage: node avatars.mjs FOLDER');
  process.exit(2);
}
for (const style of STYLES) {
  const name = style.replace(/[A-Z]/g, (letter) => '-' + letter.toLowerCase());
  mkdirSync(join(out, name), { recursive: true });
  for (let i = 0; i < PER_STYLE; i++) {
    const avatar = createAvatar(collection[style], { seed: `${name}-${i}`, backgroundColor: BACKGROUNDS });
    const image = new Resvg(avatar.toString(), { fitTo: { mode: 'width', value: SIDE } }).render();
    writeFileSync(join(out, name, `${String(i).padStart(4, '0')}.png`), image.asPng());
  }
  console.log(`${name}: ${PER_STYLE} avatars`);
}
